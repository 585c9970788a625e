r"""The words in which documents, problems and queries are put to a model. All written for this project.

The text of a request is part of its identity, so a changed prompt asks anew; `VERSION` and the name of a prompt stand
in every request, to count and compare by.
"""

from __future__ import annotations

VERSION = 1

# A document with traces of reasoning; which of the prompts it gets is drawn by its id.
ANALYSE = {
    "derive": """Here is a text on a technical subject.

{text}

Study it closely. Work out its main argument for yourself, one step after another: say what is assumed, what follows \
from what and why, and fill in the steps that the author leaves out. Check at least one claim by an example or by \
another way of reaching it. End with what a reader should remember.""",
    "explain": """Read this text as a teacher who prepares a lesson.

{text}

Explain its central idea to a student who meets it for the first time. Begin with the question that the text answers. \
Then reason through the answer in small steps, say why each step is needed, and give a worked example of your own. \
Point out where a beginner would go wrong.""",
    "question": """The following text is the source for an oral examination.

{text}

Ask three hard questions that it raises, from understanding to application. After each question think it through in \
full and give the answer with its reasons. Finally verify each answer against the text and correct what is wrong.""",
}

LENGTH = "Keep it under {words} words."  # where the config asks for it, after an analysis prompt or a query

SOLVE = {
    "bare": "{problem}",  # for a problem that says itself how it is to be answered
    "brief": r"{problem} Give the final answer in \boxed{{}}.",  # for a small model that needs no steps
    "maths": r"""{problem}

Explain your steps, then give the final answer in \boxed{{}}.""",
    "choice": r"""{problem}

Weigh the choices one after another, then give the letter of the right one in \boxed{{}}.""",
    "code": """Complete this Python function.

```python
{problem}
```

First think about how it can be done. Then write the whole function, with the imports it needs, in one code block.""",
    "function": """{problem}

First think about how it can be done. Then write the Python code that is asked for, with the names given above and the \
imports it needs, in one code block.""",
    "program": """{problem}

First think about how it can be done within the limits. Then write a whole Python program that reads standard input \
and prints what is asked for, and nothing else, in one code block.""",
}

# Shown before a problem as exchanges that have taken place: a small model learns the form of an answer from them.
WORKED_EXAMPLES = [
    (
        "What is 7 + 5?",
        "7 + 5: I take 3 from the 5 to fill the 7 up to 10, and 2 are left. 10 + 2 = 12.\n\n"
        r"The answer is \boxed{12}.",
    ),
    (
        'How many letters does the word "tree" have?',
        "I count them one by one: t (1), r (2), e (3), e (4). There are 4 letters.\n\n"
        r"The answer is \boxed{4}.",
    ),
    (
        "A box holds 6 eggs. How many eggs are in 4 boxes if 5 eggs are broken and thrown away?",
        "4 boxes hold 4 × 6 = 24 eggs. Without the 5 broken ones 24 - 5 = 19 are left.\n\n"
        r"The answer is \boxed{19}.",
    ),
]
