"""forebay's loader in the HF Trainer, for both kinds of data set."""

from typing import Any

from forebay.engine.dataset import Dataset
from forebay.formats.errors import SpecError
from forebay.loaders.dataloader import DataLoader
from forebay.loaders.feed_loader import FeedLoader
from forebay.loaders.frameworks.accelerate_inner import accelerate_loader, carry
from forebay.loaders.hooks.extras import load_extra


class HFLoaders:
    """A mixin: `class Trainer(frameworks.HFLoaders, transformers.Trainer)`.

    * Loaders over torch data sets are made by the Trainer as ever, then get forebay's transport.
    * A `forebay.Dataset` as `train_dataset` is read by threads, each rank its own rows, in an order of `data_seed` (or `seed`)
      and the epoch. As `eval_dataset` it is a map-style data set like others: the Trainer's metrics need batches that
      accelerate has made equally long on all ranks.

    Resuming from a checkpoint goes on with the very batch: the batches before are skipped without being read. Overriding
    `get_train_dataloader` to return a `forebay.DataLoader` of one's own works, too.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        base = load_extra("transformers", extra="hf", used_for="HFLoaders").TrainerCallback
        self.add_callback(type("ForebayEpochs", (_Epochs, base), {})())  # type: ignore[attr-defined]  # the Trainer's

    def get_train_dataloader(self: Any) -> Any:
        """The Trainer's own, or a loader over the forebay data set."""
        if not isinstance(self.train_dataset, Dataset):
            return super().get_train_dataloader()  # type: ignore[misc]  # the Trainer's
        args = self.args
        if args.train_sampling_strategy not in ("random", "sequential"):
            raise SpecError(
                f"train_sampling_strategy is {args.train_sampling_strategy!r}; over a forebay Dataset it is 'random' or "
                "'sequential'. For batches of like length, override get_train_dataloader and return "
                "fb.DataLoader(..., batching=fb.ByLength(...))"
            )
        loader = DataLoader(
            _used_columns(self),
            batch_size=self._train_batch_size,
            shuffle=args.train_sampling_strategy == "random",
            drop_last=args.dataloader_drop_last,
            num_workers=args.dataloader_num_workers,
            seed=args.seed if args.data_seed is None else args.data_seed,
        )
        return accelerate_loader(self.accelerator, loader)

    def num_examples(self, dataloader: Any) -> int:
        """Rows, where the Trainer would count a loader's batches."""
        if isinstance(dataloader, FeedLoader):
            return dataloader.rows or 0
        return int(super().num_examples(dataloader))  # type: ignore[misc]  # the Trainer's

    def _get_dataloader(self, *args: Any, **kwargs: Any) -> Any:
        return carry(super()._get_dataloader(*args, **kwargs))  # type: ignore[misc]  # the Trainer's


class _Epochs:
    """Tells a loader its epoch. The Trainer tells it to the loader that it iterates, which is another in a resumed epoch."""

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        loader: Any = kwargs.get("train_dataloader")
        if getattr(loader, "_is_accelerate_prepared", False):  # one of ours that knows its epoch
            loader.set_epoch(int(state.epoch or 0))


def _used_columns(trainer: Any) -> Dataset:
    """The data set with the columns that the model takes, as the Trainer does it for data sets of its own."""
    dataset: Dataset = trainer.train_dataset
    if not trainer.args.remove_unused_columns:
        return dataset
    trainer._set_signature_columns_if_needed()
    names = [name for name in dataset.schema.names if name in trainer._signature_columns]
    if not names:
        raise SpecError(
            f"none of the data set's columns ({', '.join(dataset.schema.names)}) is an argument of the model's forward "
            f"({', '.join(trainer._signature_columns)}); rename them, or give TrainingArguments(remove_unused_columns=False)"
        )
    return dataset if names == list(dataset.schema.names) else dataset.select(*names)
