"""Tokenizers trained on the spot from generated text, and texts for them."""

import numpy as np

SYLLABLES = ["ka", "lo", "mi", "ter", "an", "sho", "é", "zu", "ri", "ng", "ß", "日", "🙂"]


def texts(count: int, seed: int = 0) -> list[str]:
    """Made-up words; some texts are empty."""
    rng = np.random.default_rng(seed)

    def word() -> str:
        return "".join(rng.choice(SYLLABLES, rng.integers(1, 5)))

    return [" ".join(word() for _ in range(rng.integers(0, 30))) for _ in range(count)]


def byte_level_bpe(*, special: bool = False, dropout: float | None = None):
    """A byte-level BPE; with `special` it puts <s> and </s> around each text."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

    made = Tokenizer(models.BPE(dropout=dropout))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<s>", "</s>"],
        show_progress=False,
    )
    made.train_from_iterator(texts(300, 7), trainer)
    if special:
        ids = [(one, made.token_to_id(one)) for one in ("<s>", "</s>")]
        made.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=ids)
    return made


def word_piece():
    """A WordPiece that lowers and splits as BERT's does, with truncation and padding asked for in its file."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=300, special_tokens=["[UNK]", "[PAD]"], show_progress=False)
    made.train_from_iterator(texts(300, 8), trainer)
    made.enable_truncation(4)
    made.enable_padding(pad_id=1, pad_token="[PAD]")
    return made
