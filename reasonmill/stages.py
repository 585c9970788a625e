"""The stages a recipe or the command line can name, in the order of the line. Loaded when used."""

from __future__ import annotations

import importlib

from pipeline.errors import RequestError
from pipeline.stage import Stage

STAGES = {  # name: (class, what it does in a line)
    "read": ("pipeline.sources.Read", "index the records of WARC, HTML, PDF, code, EPUB and table files"),
    "urls": ("pipeline.dedup.urls.Urls", "keep one record per canonical URL"),
    "extract": (
        "pipeline.extract.Extract",
        "make documents of records: text with formulas, code and threads",
    ),
    "language": ("filters.language.Language", "say which language a document is in"),
    "signals": (
        "filters.signals.Signals",
        "count words, lines, formulas, code, inference words and the like",
    ),
    "tag": ("filters.taxonomy.tag.Tag", "have trained taggers say what a document is about and worth"),
    "sensitive": (
        "filters.sensitive.Sensitive",
        "count personal data, keys and words of a list of offensive ones",
    ),
    "rights": ("filters.rights.Rights", "say what licence a page has, and what its publisher reserves"),
    "blocklist": ("filters.blocklist.Blocklist", "find documents whose host or URL is on a list of yours"),
    "signatures": (
        "pipeline.dedup.signatures.Signatures",
        "hash the words of every document, so that near-duplicates meet",
    ),
    "dedup": ("pipeline.dedup.near.Dedup", "find near-duplicates, verify each, choose the copy to keep"),
    "passages": ("pipeline.dedup.passages.Passages", "find paragraphs that other documents have as well"),
    "decontaminate": ("filters.decontaminate.Decontaminate", "find benchmark problems in documents"),
    "pool": ("filters.taxonomy.pool.Pool", "draw the documents that a labeller is to rate"),
    "label": ("filters.taxonomy.label.Label", "have a model rate them by a rubric: what taggers learn from"),
    "policy": ("filters.policy.Policy", "keep, drop, weigh and group documents by SQL over all of the above"),
    "synth": ("synth.synth.Synth", "have a model analyse documents, solve problems and answer queries"),
    "verify": ("synth.verify.stage.Verify", "decide by rules which of the model's answers are right"),
    "answer_files": ("mixtures.answers.AnswerFiles", "list files of queries and answers there are"),
    "answers": ("mixtures.answers.Answers", "read their rows"),
    "verify_answers": ("mixtures.answers.VerifyAnswers", "decide by rules which of them are right"),
    "tokenizer": ("mixtures.tokenizer.Tokenizer", "take a tokenizer, or train one on the corpus"),
    "tokens": ("mixtures.tokens.Tokens", "tokenise the documents that the policy kept"),
    "answer_tokens": ("mixtures.tokens.AnswerTokens", "tokenise the answers that passed"),
    "mix": ("mixtures.mix.Mix", "draw and pack the sequences of each stage of pre-training"),
    "problems": ("mixtures.problems.Problems", "collect problems whose answers can be checked"),
    "rollouts": ("mixtures.rollouts.Rollouts", "have models answer every problem several times"),
    "rollout_verdicts": (
        "mixtures.rollouts.RolloutVerdicts",
        "decide by rules which of these answers are right",
    ),
    "difficulty": (
        "mixtures.difficulty.Difficulty",
        "keep the problems that are worth training on; grade tests",
    ),
    "sft_mix": ("mixtures.sft.SFT", "filter and pack conversations for supervised fine-tuning"),
}


def stage_class(path: str) -> type[Stage]:
    """The class of a stage, by its name above or, for a user's own, by its dotted path."""
    module, _, name = (STAGES[path][0] if path in STAGES else path).rpartition(".")
    if not module:
        raise RequestError(f"there is no stage {path!r}. Known: {', '.join(STAGES)}, or a dotted path.")
    try:
        cls = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise RequestError(
            f"there is no stage {path!r} ({error}). Known: {', '.join(STAGES)}, or a dotted path."
        ) from None
    if not (isinstance(cls, type) and issubclass(cls, Stage)):
        raise RequestError(f"{path} is not a stage: derive it from one of the classes of pipeline.stage")
    return cls
