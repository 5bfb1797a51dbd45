"""From a kernel module that Numba has compiled to its image: the code out of Numba's cache, and an entry for each signature.

An entry is called with Python objects. It checks that each array is one of the type, number of dimensions and layout that
the signature names, takes its address, shape and strides from where NumPy's C interface has them, and calls the kernel as
Numba's own code does. Runs only where Numba is imported already.
"""

from collections.abc import Iterator
from types import ModuleType
from typing import Any, NamedTuple

from forebay.transforms.native.elf import Code, Object
from forebay.transforms.native.unfit import UnfitError

_LIBC = frozenset(
    [
        "memset",
        "memcpy",
        "memmove",
        "fmod",
        "fmodf",
        "pow",
        "powf",
        "exp",
        "expf",
        "exp2",
        "log",
        "logf",
        "log2",
        "log10",
    ]
    + [
        "log1p",
        "log1pf",
        "expm1",
        "sin",
        "cos",
        "sincos",
        "tan",
        "tanh",
        "atan2",
        "floor",
        "ceil",
        "trunc",
        "rint",
        "round",
    ]
)
_NEVER = frozenset(["NRT_MemInfo_call_dtor"])
"""Called where an array that Numba owns is let go: ours own nothing."""
_TRAP = b"\x0f\x0b"
_TYPE_NUMBERS = {
    "bool": (0,),
    "int8": (1,),
    "uint8": (2,),
    "int16": (3,),
    "uint16": (4,),
    "int32": (5,),
    "uint32": (6,),
    "int64": (7, 9),
    "uint64": (8, 10),
    "float32": (11,),
    "float64": (12,),
}
"""NumPy's numbers of types (ndarraytypes.h); of 64 bits there are two, long and long long."""
_CONTIGUOUS = {"C": 0x1, "F": 0x2, "A": 0x0}
_ALIGNED, _WRITEABLE = 0x100, 0x400


class _Compiled(NamedTuple):
    """One signature of one kernel."""

    entry: str
    callee: str
    arguments: tuple[Any, ...]
    """Numba's types."""
    parameters: tuple[str, ...]
    """LLVM's types of what the kernel takes, behind where it writes result and error."""
    result: str
    """LLVM's type of the result, for a function that kernels call by address; else empty."""
    object: bytes


def image_of(module: ModuleType) -> tuple[dict[str, Any], bytes]:
    """Header and code of a kernel module's image. Kernels that need Numba's runtime are left out.

    Raises:
        UnfitError: Numba has not kept its code, or keeps it in another way than the versions that this was written for.
    """
    functions = {name: one for name, one in vars(module).items() if name.endswith("_into") and hasattr(one, "_cache")}
    code = Code()
    code.symbols["trap"] = code.append(_TRAP)
    linked: dict[str, list[_Compiled]] = {}
    for name, function in functions.items():
        try:
            found = list(_signatures(name, function))
            for one in found:
                Object(one.object).link([one.callee], code, allowed=_LIBC, never=_NEVER)
            linked[name] = found
        except UnfitError:
            continue  # it stays Numba's
    everything = [one for found in linked.values() for one in found]
    if everything:
        entries = _assemble("\n".join(_entry(one) for one in everything))
        Object(entries).link([one.entry for one in everything], code, allowed=frozenset(), never=frozenset())
    header = {
        "functions": {
            name: [[code.symbols[one.entry], _kinds(one)] for one in found]
            for name, found in linked.items()
            if not found[0].result
        },
        "addresses": {name: code.symbols[found[0].entry] for name, found in linked.items() if found[0].result},
        "constants": _constants(module),
        "relative": code.relative,
        "external": code.external,
    }
    return header, bytes(code.data)


def _constants(module: ModuleType) -> dict[str, Any]:
    return {
        name: value for name, value in vars(module).items() if name.isupper() and type(value) in (int, float, str, bool)
    }


def _signatures(name: str, function: Any) -> Iterator[_Compiled]:
    """What Numba's cache holds of a function made by `njit` with signatures, or by `cfunc`."""
    from numba.core.registry import cpu_target

    context = cpu_target.target_context
    by_address = not hasattr(function, "overloads")
    signatures = [function._sig] if by_address else [one.signature for one in function.overloads.values()]
    for number, signature in enumerate(signatures):
        try:
            kept = function._cache._cache_file.load(function._cache._index_key(signature, context.codegen()))
            (_, kind, (compiled, _)), description = kept[0], kept[1]
            called = context.call_conv.get_function_type(signature.return_type, signature.args)
        except (AttributeError, TypeError, ValueError, IndexError, OSError) as error:
            raise UnfitError(f"{name}: {error}") from error
        if kind != "object":
            raise UnfitError(f"{name} is kept as {kind}")
        yield _Compiled(
            entry=f"entry_{name}_{number}",
            callee=description.llvm_func_name,
            arguments=tuple(signature.args),
            parameters=tuple(_llvm(one) for one in called.args[2:]),
            result=_llvm(context.get_value_type(signature.return_type)) if by_address else "",
            object=compiled,
        )


def _llvm(type: Any) -> str:
    text = str(type)
    return "ptr" if text.endswith("*") else text


def _assemble(text: str) -> bytes:
    """Machine code of LLVM's language, for this processor."""
    import llvmlite.binding as llvm
    from numba.core.registry import cpu_target

    codegen = cpu_target.target_context.codegen()
    module = llvm.parse_assembly(text)
    module.triple = codegen._tm.triple
    module.verify()
    made: bytes = codegen._tm.emit_object(module)
    return made


def _kinds(one: _Compiled) -> list[str]:
    return ["array" if _is_array(argument) else str(argument) for argument in one.arguments]


def _is_array(type: Any) -> bool:
    return hasattr(type, "ndim") and hasattr(type, "layout")


def _entry(one: _Compiled) -> str:
    """The entry's text."""
    declared = f'declare i32 @"{one.callee}"(ptr, ptr, {", ".join(one.parameters)})'
    call = f'%status = call i32 @"{one.callee}"(ptr %result, ptr %error, '
    room = "  %result = alloca i64\n  %error = alloca ptr\n  store i64 0, ptr %result\n"
    if one.result:
        given = [f"{type} %a{at}" for at, type in enumerate(one.parameters)]
        end = f"  %value = load {one.result}, ptr %result\n  ret {one.result} %value\n"
        taken = ", ".join(given)
        return f"{declared}\ndefine {one.result} @{one.entry}({taken}) {{\n{room}  {call}{taken})\n{end}}}\n"
    names, types, text, passed = [], iter(one.parameters), [], []
    for at, argument in enumerate(one.arguments):
        if _is_array(argument):
            names.append(f"ptr %a{at}")
            text.append(_array(at, argument))
            fields = ["null", "null", f"%n{at}", str(_itemsize(argument)), f"%data{at}"]
            fields += [f"%{part}{at}_{axis}" for part in ("dim", "step") for axis in range(argument.ndim)]
        else:
            fields = [f"%a{at}"]
            names.append("")
        chosen = [(next(types), value) for value in fields]
        if not names[at]:
            names[at] = f"{chosen[0][0]} %a{at}"
        passed += [f"{type} {value}" for type, value in chosen]
    body = "".join(text)
    return (
        f"{declared}\ndefine i32 @{one.entry}(ptr %ndarray, {', '.join(names)}) {{\n{room}{body}  {call}{', '.join(passed)})\n"
        "  ret i32 %status\n}\n"
    )


def _itemsize(array: Any) -> int:
    return int(array.dtype.bitwidth) // 8 if hasattr(array.dtype, "bitwidth") else 1


def _array(at: int, array: Any) -> str:
    """Check argument `at`, or return -1 - at; then its fields (PyArrayObject and PyArray_Descr of NumPy 1 and 2)."""
    numbers = _TYPE_NUMBERS.get(str(array.dtype))
    if numbers is None:
        raise UnfitError(f"an array of {array.dtype}")
    mask = _CONTIGUOUS[array.layout] | _ALIGNED | (_WRITEABLE if array.mutable else 0)
    read = _reader(at)
    lines = [
        *read("type", "a", 8, "ptr"),
        f"%is{at} = icmp eq ptr %type{at}, %ndarray",
        f"br i1 %is{at}, label %known{at}, label %other{at}",
        f"other{at}: ret i32 {-1 - at}",
        f"known{at}:",
        *read("nd", "a", 24, "i32"),
        *read("flags", "a", 64, "i32"),
        *read("descr", "a", 56, "ptr"),
        *read("number", "descr", 28, "i32"),
        *read("order", "descr", 26, "i8"),
        f"%masked{at} = and i32 %flags{at}, {mask}",
        f"%right{at} = icmp eq i32 %masked{at}, {mask}",
        f"%flat{at} = icmp eq i32 %nd{at}, {array.ndim}",
        f"%native{at} = icmp ne i8 %order{at}, 62",
        f"%one{at} = and i1 %right{at}, %flat{at}",
        f"%two{at} = and i1 %one{at}, %native{at}",
        *(f"%kind{at}_{number} = icmp eq i32 %number{at}, {number}" for number in numbers),
        f"%kinds{at} = or i1 %kind{at}_{numbers[0]}, %kind{at}_{numbers[-1]}",
        f"%all{at} = and i1 %two{at}, %kinds{at}",
        f"br i1 %all{at}, label %good{at}, label %other{at}",
        f"good{at}:",
        *read("data", "a", 16, "ptr"),
        *read("dims", "a", 32, "ptr"),
        *read("steps", "a", 40, "ptr"),
    ]
    total = "1"
    for axis in range(array.ndim):
        lines += read("dim", "dims", 8 * axis, "i64", f"_{axis}")
        lines += read("step", "steps", 8 * axis, "i64", f"_{axis}")
        name = f"%n{at}" if axis == array.ndim - 1 else f"%n{at}_{axis}"
        lines.append(f"{name} = mul i64 {total}, %dim{at}_{axis}")
        total = name
    return "".join(f"  {line}\n" for line in lines)


def _reader(at: int) -> Any:
    def read(name: str, base: str, offset: int, type: str, suffix: str = "") -> list[str]:
        """Load a field of a struct."""
        place = f"%at_{name}{at}{suffix}"
        return [
            f"{place} = getelementptr i8, ptr %{base}{at}, i64 {offset}",
            f"%{name}{at}{suffix} = load {type}, ptr {place}",
        ]

    return read
