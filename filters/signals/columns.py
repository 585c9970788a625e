"""The columns of signals: what each is, in a sentence."""

from __future__ import annotations

SIGNALS: dict[str, str] = {
    "words": "words of the prose (see filters.words: letters of scripts without spaces are words)",
    "characters": "code points of the whole text",
    "sentences": "stretches of prose with a word that end with . ! ? … 。 ！ ？ or with a paragraph, a heading, a list item "
    "or a code block; a . ! ? … counts if white space follows, and then no small letter",
    "lines": "lines that have a letter or digit outside code and formulas",
    "mean_word_length": "characters a word",
    "alphabetic_share": "words with a letter / words",
    "symbol_ratio": "# and ellipses (… or ...) in the prose, without the marks of headings / words",
    "digit_share": "digits / characters of the prose that are no white space",
    "bullet_line_share": "lines that begin with a bullet (- * + • · ● ○ ◦ ▪ ■ ‣ – —) and a space / lines",
    "list_item_share": "lines that begin with a bullet or a number or letter (1. 1) (1) a) (a)) and a space / lines",
    "ellipsis_line_share": "lines whose prose ends with … or ... / lines",
    "line_punctuation_share": "lines whose prose ends with . ! ? : ; … 。 ！ ？ ： ；, closing quotes, brackets and "
    "emphasis not counted / lines",
    "short_line_share": "lines of at most 30 characters, surrounding white space not counted / lines",
    "duplicate_line_share": "lines equal to an earlier line / lines",
    "duplicate_paragraph_share": "paragraphs (between blank lines or code blocks) equal to an earlier one / paragraphs",
    "top_2gram_share": "characters of all occurrences of the most frequent pair of successive words (two at least) / "
    "characters of the prose, 1 at most",
    "stop_words": "how many of Gopher's eight (the, be, to, of, and, that, have, with) occur",
    "unique_word_share": "different words / words",
    "formula_count": "formulas ($…$ and $$…$$); those that touch count as one",
    "formula_share": "characters in formulas / characters",
    "code_block_count": "fenced code blocks",
    "code_share": "characters in fenced code blocks / characters",
    "inference_words_per_sentence": "words and phrases that announce a step of reasoning (English and Chinese: "
    "therefore, since, suppose, it follows, 因此, …; filters.signals.INFERENCE) / sentences",
    "equation_chain_count": "formulas with at least two of = ≈ ≡ ⇒ ⇔ \\approx \\equiv \\implies \\iff \\Rightarrow "
    "\\Leftrightarrow outside braces",
    "link_density": "characters of link texts and bare addresses / characters of the prose and bare addresses",
    "reasoning": "a heuristic from 0 to 1, no judgement of quality: saturating inference words per sentence (weight .5), "
    "formulas per sentence (.2), equation chains per sentence (.2) and list items per line (.1), damped for short texts",
    "step_count": "lines with a number (1. 1) (1), a numbered heading, Step 1, 第一步) that is one more than that of the "
    "numbered line before",
    "worked_label_count": "lines that begin with Solution, Proof, Derivation, Explanation, Worked example, 解, 证明, … "
    "(filters.signals.LABELS), perhaps a number, then . : or ( or nothing",
    "proof_count": "proofs (Proof, 证明) that reach their end mark (∎ □ ■ QED \\qed \\blacksquare …) before the next begins",
    "code_explanation_count": "changes, in either direction, between a fenced code block and prose of at least five words",
    "question_share": "sentences that end with ? or ？ / sentences",
    "question_answer_count": "questions (lines labelled Q, Question, Problem, 问, …; headings that end with ?) that have an "
    "answer before the next question: a line labelled A, Answer, Solution, 答, …, or below a heading ten words of prose",
    "gopher_hash_ratio": "# in the prose / words",
    "gopher_ellipsis_ratio": "... and … in the prose / words",
    "gopher_bullet_line_share": "lines of the prose, empty ones too, that begin with - or • / lines",
    "gopher_ellipsis_line_share": "lines of the prose, empty ones too, that end with ... or … / lines",
    "gopher_stop_words": "how many of Gopher's eight occur in small letters",
    "gopher_duplicate_line_share": "lines equal to an earlier one, white space counted / lines that are not empty (one "
    "more where the prose begins or ends with a line break)",
    "gopher_duplicate_line_character_share": "characters of these lines / characters of the prose",
    "gopher_duplicate_paragraph_share": "paragraphs (between empty lines) equal to an earlier one / paragraphs",
    "gopher_duplicate_paragraph_character_share": "characters of these paragraphs / characters of the prose",
    **{
        f"gopher_top_{n}gram_share": f"characters of all occurrences of the most frequent {n} successive words (of several "
        "the first), spaces between them counted / characters of the prose"
        for n in (2, 3, 4)
    },
    **{
        f"gopher_duplicate_{n}gram_share": f"characters of {n} successive words that occurred before, each counted once / "
        "characters of the prose"
        for n in range(5, 11)
    },
    "c4_long_word_lines": "lines of the prose with a word (between spaces) of more than 1000 characters; of the c4_…_lines "
    "a line is counted in the first that fits",
    "c4_unpunctuated_lines": "… that do not end with . ? ! \" or ', or end with ...",
    "c4_few_word_lines": "… of fewer than three words",
    "c4_lorem_ipsum_lines": "… with “lorem ipsum”: one drops the document",
    "c4_javascript_lines": "… with “javascript”",
    "c4_curly_bracket_lines": "… with {: one drops the document",
    "c4_policy_lines": "… with “terms of use”, “privacy policy”, “cookie policy”, “uses cookies”, “use of cookies” or “use cookies”",
    "c4_kept_lines": "… that C4 keeps",
    "c4_sentences": "sentences of the lines that C4 keeps, each line by itself, one a line at least",
    "fineweb_line_punctuation_share": "lines of the prose that end with a character that ends sentences in some script / "
    "lines that are not blank",
    "fineweb_short_line_share": "such lines of at most 30 characters / such lines",
    "fineweb_duplicate_line_character_share": "characters of such lines equal to an earlier one / characters of the prose "
    "without line breaks",
    "fineweb_newlines_per_word": "line breaks of the prose / words",
}
COUNTS = {
    *("words", "characters", "sentences", "lines", "stop_words", "gopher_stop_words", "c4_sentences"),
    *(name for name in SIGNALS if name.endswith(("_count", "_lines"))),
}
