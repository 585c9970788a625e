"""Listings: hand-written pages in the markup of highlighters, editors, notebooks and forums, each with a known answer."""

import random
import re
from html import escape

import pytest
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from resiliparse.parse.html import HTMLTree

from pipeline.extract.census import Census
from pipeline.extract.listings.find import protect_listings
from pipeline.extract.protect import Protected
from tests.patience import in_time

CODE = 'def f(a):\n    if a < 1:\n\treturn "$x$ & <b>"\n\n    return f(a - 1)  # done'
LINES = CODE.split("\n")


def protected_of(body: str) -> tuple[str, list[tuple[str, str]]]:
    """Text that is left on the page (with words for what was taken), and what was taken."""
    html = f"<html><body>{body}</body></html>"
    tree, protected = HTMLTree.parse(html), Protected.against(html)
    protect_listings(tree, Census.of(html.encode()), protected)
    return " ".join(tree.body.text.split()), protected.items


def fences(body: str) -> list[tuple[str, str]]:
    """Language and code of the listings, read from their fences."""
    found = []
    for kind, content in protected_of(body)[1]:
        if kind == "block":
            fence, language, code, close = re.fullmatch(r"(`{3,})(.*)\n((?s:.*))\n(`{3,})", content).groups()
            assert fence == close and fence not in code
            found.append((language, code))
    return found


def nbsp(line: str) -> str:
    return escape(line, quote=False).replace("\t", "&nbsp;" * 4).replace("  ", "&nbsp; ")


def spans(line: str) -> str:
    return "".join(f'<span class="k">{escape(word)}</span>' for word in re.split(r"(?<=\s)", line) if word)


def numbered(template: str, between: str = "") -> str:
    return between.join(
        template.format(n=number, line=spans(line), blank=spans(line) or "&nbsp;", text=escape(line))
        for number, line in enumerate(LINES, 1)
    )


NUMBERS = "\n".join(str(number) for number in range(1, len(LINES) + 1))
DIVS = "".join(f"<div>{number}</div>" for number in range(1, len(LINES) + 1))

EXACT = {
    "bare": f"<pre data-lang=python>{escape(CODE)}</pre>",
    "code in pre": f'<pre><code class="language-py hljs">{escape(CODE)}\n</code></pre>',
    "stack overflow": f'<pre class="lang-py s-code-block"><code class="hljs language-python">{numbered("{line}", chr(10))}</code></pre>',
    "prettyprint": f'<pre class="prettyprint lang-py prettyprinted"><code>{numbered("{line}", chr(10))}</code></pre>',
    "prettyprint numbered": f'<pre class="prettyprint linenums lang-python"><ol class="linenums">{numbered("<li class=L0><code>{line}</code></li>")}</ol></pre>',
    "line breaks": f'<pre class="python">{escape(CODE).replace(chr(10), "<br>")}</pre>',
    "line breaks and line ends": f'<pre class="python">{escape(CODE).replace(chr(10), "<br />" + chr(10))}</pre>',
    "code a line": f'<pre class="language-python">{numbered("<code>{line}</code>")}</pre>',
    "spans shown as blocks": f'<pre data-language="python"><code>{numbered("""<span class="line">{line}</span>""")}</code></pre>',
    "shiki": f'<pre class="shiki nord" data-language="python"><code>{numbered("""<span class="line">{line}</span>""", chr(10))}</code></pre>',
    "rehype": f'<figure data-rehype-pretty-code-figure><pre data-language="python"><code style="display:grid">{numbered("<span data-line>{line}</span>", chr(10))}</code></pre></figure>',
    "docusaurus": '<div class="language-python codeBlockContainer_Ckt0"><div class="codeBlockContent_biex"><pre class="prism-code language-python"><code>'
    + numbered('<span class="token-line" style="color:#000">{line}<br></span>')
    + '</code></pre><div class="buttonGroup__atx"><button type="button">Copy</button></div></div></div>',
    "vitepress": '<div class="language-python"><button title="Copy Code" class="copy"></button><span class="lang">python</span><pre class="shiki"><code>'
    + numbered('<span class="line">{line}</span>', "\n")
    + f'</code></pre><div class="line-numbers-wrapper" aria-hidden="true">{numbered("""<span class="line-number">{n}</span><br>""")}</div></div>',
    "rouge": '<div class="language-python highlighter-rouge"><div class="highlight"><pre class="highlight"><code><table class="rouge-table"><tbody><tr>'
    f'<td class="rouge-gutter gl"><pre class="lineno">{NUMBERS}\n</pre></td><td class="rouge-code"><pre>{numbered("{line}", chr(10))}\n</pre></td></tr></tbody></table></code></pre></div></div>',
    "chroma table": '<div class="highlight"><div class="chroma"><table class="lntable"><tr><td class="lntd"><pre class="chroma"><code>'
    + numbered('<span class="lnt">{n}\n</span>')
    + f'</code></pre></td><td class="lntd"><pre class="chroma"><code class="language-python" data-lang="python">{numbered("{line}", chr(10))}</code></pre></td></tr></table></div></div>',
    "chroma inline": '<div class="highlight"><pre class="chroma"><code class="language-python" data-lang="python">'
    + numbered('<span class="line"><span class="ln">{n}</span><span class="cl">{line}\n</span></span>')
    + "</code></pre></div>",
    "chroma styles": '<div class="highlight"><pre><code class="language-python">'
    + numbered('<span style="display:flex"><span style="white-space:pre;user-select:none;color:#7f7f7f">{n}</span><span>{line}\n</span></span>')
    + "</code></pre></div>",
    "prism": f'<div class="code-toolbar"><pre class="line-numbers language-python"><code class="language-python">{numbered("{line}", chr(10))}'
    '<span aria-hidden="true" class="line-numbers-rows"><span></span><span></span></span></code></pre><div class="toolbar"><div><span>Python</span></div><div><button>Copy</button></div></div></div>',
    "highlightjs-line-numbers": '<pre><code class="hljs python"><table class="hljs-ln"><tbody>'
    + numbered('<tr><td class="hljs-ln-line hljs-ln-numbers" data-line-number="{n}"><div class="hljs-ln-n" data-line-number="{n}"></div></td><td class="hljs-ln-line hljs-ln-code" data-line-number="{n}">{line}</td></tr>')
    + "</tbody></table></code></pre>",
    "csdn": '<pre><code class="prism language-python has-numbering"><ol class="hljs-ln" style="width:100%">'
    + numbered('<li><div class="hljs-ln-numbers"><div class="hljs-ln-line hljs-ln-n" data-line-number="{n}"></div></div><div class="hljs-ln-code"><div class="hljs-ln-line">{line}</div></div></li>')
    + '</ol></code><div class="hljs-button" data-title="复制">复制</div></pre>',
    "react-syntax-highlighter": '<pre><code class="language-python" style="white-space:pre">'
    + numbered('<span class="linenumber react-syntax-highlighter-line-number" style="display:inline-block">{n}</span><span>{line}</span>', "\n")
    + "</code></pre>",
    "syntaxhighlighter 3": '<div><div id="highlighter_1" class="syntaxhighlighter  python"><div class="toolbar"><span><a class="toolbar_item">?</a></span></div><table><tbody><tr>'
    + f'<td class="gutter">{DIVS}</td><td class="code"><div class="container">{numbered("""<div class="line alt1"><code class="python plain">{blank}</code></div>""")}</div></td></tr></tbody></table></div></div>',
    "syntaxhighlighter 2": '<div class="syntaxhighlighter python"><div class="lines">'
    + numbered('<div class="line"><table><tr><td class="number"><code>{n}</code></td><td class="content"><code class="plain">{blank}</code></td></tr></table></div>')
    + "</div></div>",
    "dp.SyntaxHighlighter": '<div class="dp-highlighter"><div class="bar"><div class="tools"><a href="#">view plain</a></div></div><ol class="dp-py" start="1">'
    + numbered('<li class="alt"><span>{line}</span></li>')
    + "</ol></div>",
    "crayon": f'<div class="crayon-syntax crayon-theme-classic"><div class="crayon-toolbar"><span class="crayon-title">f.py</span><span class="crayon-language">Python</span></div><div class="crayon-plain-wrap"><textarea class="crayon-plain" readonly>{escape(CODE)}</textarea></div>'
    f'<div class="crayon-main"><table class="crayon-table"><tr><td class="crayon-nums">{DIVS}</td><td class="crayon-code"><div class="crayon-pre">{numbered("""<div class="crayon-line">{blank}</div>""")}</div></td></tr></table></div></div>',
    "crayon without plain": f'<div class="crayon-syntax"><div class="crayon-toolbar"><span class="crayon-language">Python</span></div><table class="crayon-table"><tr><td class="crayon-nums">{DIVS}</td>'
    f'<td class="crayon-code"><div class="crayon-pre">{numbered("""<div class="crayon-line">{blank}</div>""")}</div></td></tr></table></div>',
    "enlighter": f'<div class="enlighter-default enlighter-l-python"><div class="enlighter-toolbar"><div class="enlighter-btn"></div></div><div class="enlighter python">{numbered("<div><div>{blank}</div></div>")}</div></div>',
    "enlighter raw": f'<pre class="EnlighterJSRAW" data-enlighter-language="python" data-enlighter-theme="">{escape(CODE)}</pre>',
    "geshi": f'<div class="python geshifilter"><ol>{numbered("""<li class="li1"><div class="de1">{blank}</div></li>""")}</ol></div>',
    "mediawiki": f'<div class="mw-highlight mw-highlight-lang-python mw-content-ltr"><pre><span></span>{numbered("{line}", chr(10))}\n</pre></div>',
    "wp-syntax": f'<div class="wp_syntax"><table><tr><td class="line_numbers"><pre>{NUMBERS}\n</pre></td><td class="code"><pre class="python" style="font-family:monospace;">{escape(CODE)}</pre></td></tr></table></div>',
    "codemirror 5": '<div class="CodeMirror cm-s-python" data-lang="python"><div style="overflow:hidden"><textarea></textarea></div><div class="CodeMirror-scroll"><div class="CodeMirror-measure"><pre>x</pre></div><div class="CodeMirror-code">'
    + numbered('<div style="position:relative"><div class="CodeMirror-gutter-wrapper"><div class="CodeMirror-linenumber CodeMirror-gutter-elt">{n}</div></div><pre class="CodeMirror-line"><span>{line}\u200b</span></pre></div>')
    + "</div></div></div>",
    "codemirror 6": f'<div class="cm-editor"><div class="cm-scroller"><div class="cm-gutters" aria-hidden="true"><div class="cm-gutterElement">1</div></div><div class="cm-content" data-language="python">{numbered("""<div class="cm-line">{line}</div>""")}</div></div></div>',
    "ace": f'<div class="ace_editor" data-mode="python"><textarea class="ace_text-input"></textarea><div class="ace_gutter">{DIVS}</div><div class="ace_scroller"><div class="ace_content"><div class="ace_layer ace_text-layer">{numbered("""<div class="ace_line_group"><div class="ace_line">{line}</div></div>""")}</div></div></div></div>',
    "github": f'<div class="highlight-source-python"><table class="highlight js-file-line-container">{numbered("""<tr><td id="L{n}" class="blob-num js-line-number" data-line-number="{n}"></td><td id="LC{n}" class="blob-code blob-code-inner js-file-line">{line}</td></tr>""", chr(10))}</table></div>',
    "github readme": f'<div class="highlight highlight-source-python"><pre>{numbered("{line}", chr(10))}</pre><div class="zeroclipboard-container"><clipboard-copy value="x"><svg></svg></clipboard-copy></div></div>',
    "gitlab": f'<div class="blob-content"><pre class="code highlight" lang="x"><code>{numbered("""<span id="LC{n}" class="line" lang="python">{line}</span>""", chr(10))}</code></pre></div>',
    "doxygen": f'<div class="fragment" data-lang="python">{numbered("""<div class="line"><a id="l0{n}"></a><span class="lineno">    {n}</span>&#160;{line}</div>""", chr(10))}<div class="ttc" id="af"><div class="ttname"><a href="f.html">f</a></div><div class="ttdef">Definition: f.py:1</div></div></div><!-- fragment -->',
    "doxygen without numbers": f'<div class="fragment" data-lang="python">{numbered("""<div class="line">{blank}</div>""", chr(10))}</div>',
    "old doxygen": f'<div class="fragment"><pre class="fragment" data-lang="python">{numbered("""<a name="l0000{n}"></a>0000{n} {line}""", chr(10))}</pre></div>',
    "pandoc": f'<div class="sourceCode" id="cb1"><pre class="sourceCode python"><code class="sourceCode python">{numbered("""<span id="cb1-{n}"><a href="#cb1-{n}" aria-hidden="true" tabindex="-1"></a>{line}</span>""", chr(10))}</code></pre></div>',
    "old pandoc": f'<table class="sourceCode"><tr><td class="lineNumbers"><pre>{NUMBERS}</pre></td><td class="sourceCode"><pre><code class="sourceCode python">{escape(CODE)}</code></pre></td></tr></table>',
    "hexo": f'<figure class="highlight python"><table><tr><td class="gutter"><pre>{numbered("""<span class="line">{n}</span><br>""")}</pre></td><td class="code"><pre>{numbered("""<span class="line">{line}</span><br>""")}</pre></td></tr></table></figure>',
    "org": f'<div class="org-src-container"><pre class="src src-python">{numbered("{line}", chr(10))}</pre></div>',
    "confluence": f'<div class="code panel"><div class="codeContent panelContent"><pre class="syntaxhighlighter-pre" data-syntaxhighlighter-params="brush: py; gutter: false">{escape(CODE)}</pre></div></div>',
    "mdn": f'<div class="code-example"><div class="example-header"><span class="language-name">py</span><button>Copy to Clipboard</button></div><pre class="brush: python notranslate"><code>{escape(CODE)}</code></pre></div>',
    "expressive code": '<div class="expressive-code"><figure class="frame"><pre data-language="python"><code>'
    + numbered('<div class="ec-line"><div class="gutter"><div class="ln" aria-hidden="true">{n}</div></div><div class="code">{line}\n</div></div>')
    + '</code></pre><div class="copy"><button title="Copy"></button></div></figure></div>',
    "xmp": f'<div data-lang="python"><xmp>{CODE}</xmp></div>',
    "cnblogs": f'<div class="cnblogs_code" data-lang="python"><div class="cnblogs_code_toolbar"><span class="cnblogs_code_copy"><a title="复制代码"><img src="x.gif"></a></span></div><pre>{numbered("""<span style="color: #008080;"> {n}</span> {line}""", chr(10))}</pre></div>',
    "bitbucket": f'<div class="codehilite language-python"><table class="codehilitetable"><tr><td class="linenos"><div class="linenodiv"><pre>{NUMBERS}</pre></div></td><td class="code"><pre>{numbered("{line}", chr(10))}\n</pre></td></tr></table></div>',
    "xenforo": f'<div class="bbCodeBlock bbCodeBlock--screenLimited bbCodeBlock--code"><div class="bbCodeBlock-title">Python:</div><div class="bbCodeBlock-content" dir="ltr"><pre class="bbCodeCode" dir="ltr"><code>{escape(CODE)}</code></pre></div></div>',
    "phpbb 3.2": f'<div class="codebox"><p>Code: <a href="#" onclick="selectCode(this)">Select all</a></p><pre><code class="python">{escape(CODE)}</code></pre></div>',
    "discourse": f'<pre class="codeblock-buttons"><code class="lang-python hljs">{escape(CODE)}\n</code><div class="codeblock-button-wrapper"><button class="copy-cmd"></button></div></pre>',
    "invision": f'<pre class="ipsCode prettyprint lang-py">{escape(CODE)}</pre>',
    "juejin": f'<pre><div class="code-block-extension-header"><span class="code-block-extension-copyCodeBtn">复制代码</span></div><code class="hljs language-python" lang="python">{escape(CODE)}</code></pre>',
    "older juejin": f'<pre><code class="hljs language-python copyable" lang="python">{escape(CODE)}\n<span class="copy-code-btn">复制代码</span></code></pre>',
    "copy in the box's class": f'<pre class="code" data-lang="python"><div class="code-with-copy"><button>Copy</button><code class="nocopy">{escape(CODE)}</code></div></pre>',
    "links to a function copy": f'<pre data-lang="python">{escape(CODE).replace("return f", """return <a class="sphx-glr-backref-module-copy"><span>f</span></a>""")}</pre>',
    "latexml": '<figure class="ltx_figure"><div class="ltx_listing ltx_lst_language_Python ltx_lstlisting"><div class="ltx_listing_data"><a href="data:text/plain;base64,YQ==">⬇</a></div>'
    + numbered('<div class="ltx_listingline"><span class="ltx_tag ltx_tag_listingline">{n}</span>{blank}</div>')
    + "</div></figure>",
}  # fmt: skip


@pytest.mark.parametrize("name", EXACT)
def test_the_code_is_exact_in_the_markup_of(name):
    text, items = protected_of(f"<p>Before.</p>{EXACT[name]}<p>After.</p>")
    assert items == [("block", f"```python\n{CODE}\n```")]
    assert re.fullmatch(r"Before\. ?Qzxb0z( f\.py)? ?After\.", text), text


WITH_SPACES = CODE.replace("\t", "    ")
PADDED = {
    "phpbb 3.0": f'<dl class="codebox"><dt>Code: <a href="#">Select all</a></dt><dd><code>{"<br />".join(map(nbsp, LINES))}</code></dd></dl>',
    "phpbb 2": f'<table><tr><td class="code">{("<br />" + chr(10)).join(map(nbsp, LINES))}</td></tr></table>',
    "simple machines": f'<div><div class="codeheader">Code: <a href="javascript:void(0);" class="codeoperation">[Select]</a></div><code class="bbc_code">{"<br />".join(map(nbsp, LINES))}</code></div>',
    "mybb": f'<div class="codeblock"><div class="title">Code:<br /></div><div class="body" dir="ltr"><code>{"<br />".join(map(nbsp, LINES))}</code></div></div>',
    "vbulletin 3 php": f'<div style="margin:20px"><div class="smallfont">PHP Code:</div><div class="alt2" dir="ltr"><code style="white-space:nowrap"><!-- php buffer start --><code>{"<br />".join(map(nbsp, LINES))}</code><!-- php buffer end --></code></div></div>',
    "typewriter": f'<div style="font-family: monospace">{"<br>".join(map(nbsp, LINES))}</div>',
    "courier": f'<p><font face="Courier New" size="2">{("<br>" + chr(10)).join(map(nbsp, LINES))}</font></p>',
    "class code": f'<p class="code">{("<br/>" + chr(10) + "    ").join(map(nbsp, LINES))}</p>',
    "discuz": f'<div class="blockcode"><div id="code_1"><ol>{chr(10).join(f"<li>{nbsp(line)}<br /></li>" for line in LINES)}</ol></div><em onclick="copycode(x)">复制代码</em></div>',
    "monaco": '<div class="monaco-editor"><div class="view-lines">'
    + "".join(f'<div style="top:{19 * n}px" class="view-line"><span><span class="mtk1">{nbsp(line)}</span></span></div>' for n, line in random.Random(1).sample(list(enumerate(LINES)), len(LINES)))
    + "</div></div>",
    "code lines in a paragraph": f'<p>{"<br/>".join(f"<code>{nbsp(line)}</code>" for line in LINES)}</p>',
}  # fmt: skip


@pytest.mark.parametrize("name", PADDED)
def test_spaces_written_as_entities_are_exact_in_the_markup_of(name):
    text, items = protected_of(f"<p>Before.</p>{PADDED[name]}<p>After.</p>")
    ((kind, content),) = items
    assert kind == "block"
    assert content.split("\n", 1)[1].removesuffix("\n```") == WITH_SPACES
    assert re.fullmatch(r"Before\. ?Qzxb0z ?After\.", text), text


@pytest.mark.parametrize(
    "options", [{}, {"linenos": "table"}, {"linenos": "inline"}, {"linespans": "l"}, {"lineanchors": "l"}]
)
@pytest.mark.parametrize("language", ["python", "c", "console", "html"])
def test_what_pygments_writes_is_read_back(language, options):
    """Against the highlighter itself: its own lexers and formatter, every layout of line numbers."""
    code = {
        "python": CODE,
        "c": '#include <stdio.h>\n\nint main(void)\n{\n\tprintf("%d\\n", 1 && 2);\n}',
        "console": "$ ls -l | grep x\n-rw-r--r-- 1 me me 0 x\n# reboot",
        "html": "<pre>\n  <br>&amp;\n</pre>",
    }[language]
    html = highlight(code, get_lexer_by_name(language), HtmlFormatter(**options))
    assert [found for _, found in fences(f'<div class="highlight-{language}">{html}</div>')] == [code]


def test_medium_parts_code_by_blank_lines():
    span = '<span id="{}" class="lp" data-selectable-paragraph="">{}</span>'.format
    assert (
        fences(f"<pre>{span('1b2c', 'a = 1<br>b = 2')}{span('77ff', 'print(a)')}</pre>")[0][1]
        == "a = 1\nb = 2\n\nprint(a)"
    )


def test_numbers_that_are_the_listing():
    assert (
        fences('<pre><code class="language-text line-numbers">3\n1 2 3\n4 5</code></pre>')[0][1]
        == "3\n1 2 3\n4 5"
    )


def test_a_data_table_of_materialize_is_no_code():
    rows = "<tr><th>Name</th><th>Price</th></tr><tr><td>Alvin</td><td>$0.87</td></tr>"
    assert protected_of(f'<table class="striped highlight">{rows}</table>')[1] == []


def test_a_file_of_github_comes_out_once():
    code = "import os\nfrom a import b\n\ndef f():\n    pass\n# last"
    field = f'<textarea class="react-blob-textarea">{code}</textarea>'
    lines = '<div class="react-code-lines"><div>import os</div><div>from a import b</div></div>'
    assert fences(field + lines) == [("python", code)]


def test_a_span_without_its_end_tag_takes_in_no_paragraphs():
    after = (
        "<p>A paragraph with words.</p><p>See <code>g</code> and so on.</p><ul><li>one item here</li></ul>"
    )
    assert protected_of(f"<div><code>f {after}</div>")[1] == [("code", "g")]
    text, items = protected_of("<p>Say <code>f<code> first.</p><p>A second paragraph with x in it.</p>")
    assert items == [("code", "f first.")] and "A second paragraph with x in it." in text


def test_keys_together_are_told_apart():
    keys = "<kbd>Ctrl</kbd><kbd>Shift</kbd><kbd>P</kbd>"
    assert protected_of(f"<p>Press {keys} now</p>")[1] == [("code", "Ctrl Shift P")]


def test_white_space_at_the_ends_and_within():
    assert fences("<pre>\n\n    first\n\n\n  last  \n\t\n</pre>") == [("", "    first\n\n\n  last  ")]
    assert fences("<pre>a\r\nb&nbsp;c\u200b</pre>") == [("", "a\nb c")]
    assert fences("<pre> \n </pre>") == []


def test_prompts_stay():
    session = "<span class='gp'>$ </span>pip install x\n<span class='go'>done</span>"
    assert fences(f"<pre>{session}</pre>") == [("console", "$ pip install x\ndone")]
    copied = (
        '<span style="user-select:none">$ </span>pip install x\n<span class="no-copy">&gt;&gt;&gt; </span>1'
    )
    assert fences(f"<pre>{copied}</pre>")[0][1] == "$ pip install x\n>>> 1"
    assert fences("<pre>&gt;&gt;&gt; f(1)\n1</pre>") == [("pycon", ">>> f(1)\n1")]


@pytest.mark.parametrize(
    "cell",
    [
        '<div class="input"><div class="prompt input_prompt">In&nbsp;[1]:</div><div class="inner_cell"><div class="input_area"><div class=" highlight hl-ipython3"><pre>{code}</pre></div></div></div></div>'
        '<div class="output_wrapper"><div class="output"><div class="output_area"><div class="prompt output_prompt">Out[1]:</div><div class="output_text output_subarea output_execute_result"><pre>{out}</pre></div></div></div></div>',
        '<div class="jp-InputArea"><div class="jp-InputPrompt jp-InputArea-prompt">In [1]:</div><div class="jp-CodeMirrorEditor"><div class="highlight hl-ipython3"><pre>{code}</pre></div></div></div>'
        '<div class="jp-OutputArea-child"><div class="jp-OutputPrompt">Out[1]:</div><div class="jp-RenderedText jp-OutputArea-output" data-mime-type="text/plain"><pre>{out}</pre></div></div>',
        '<div class="nbinput docutils container"><div class="prompt highlight-none notranslate"><div class="highlight"><pre>[1]:\n</pre></div></div><div class="input_area highlight-ipython3"><div class="highlight"><pre>{code}\n</pre></div></div></div>'
        '<div class="nboutput docutils container"><div class="prompt empty docutils container"></div><div class="output_area docutils container"><div class="highlight"><pre>{out}\n</pre></div></div></div>',
        '<div class="cell docutils container"><div class="cell_input"><div class="highlight-ipython3"><div class="highlight"><pre>{code}</pre></div></div></div><div class="cell_output docutils container"><div class="output text_plain highlight-myst-ansi"><div class="highlight"><pre>{out}</pre></div></div></div></div>',
        '<div class="cell"><div class="sourceCode cell-code"><pre class="sourceCode python"><code class="sourceCode python">{code}</code></pre></div><div class="cell-output cell-output-stdout"><pre><code>{out}</code></pre></div></div>',
    ],
    ids=["nbconvert classic", "nbconvert lab", "nbsphinx", "myst-nb", "quarto"],
)  # fmt: skip
def test_a_notebook_is_code_and_outputs_without_counters(cell):
    body = cell.format(code=escape(CODE), out="array([1,\n       2])")
    assert fences(body) == [("python", CODE), ("output", "array([1,\n       2])")]
    assert "[1]" not in protected_of(body)[0]


def test_javadoc_and_doxygen_signatures_keep_their_lines():
    javadoc = (
        '<div class="member-signature"><span class="modifiers">public</span>&nbsp;<span class="return-type">int</span>&nbsp;'
        '<span class="element-name">read</span><wbr><span class="parameters">(char[]&nbsp;buffer,\n int&nbsp;offset)</span></div>'
    )
    assert fences(javadoc) == [("java", "public int read(char[] buffer,\n int offset)")]
    doxygen = (
        '<div class="memproto"><table class="memname"><tr><td class="memname">void push </td><td>(</td><td class="paramtype">int&#160;</td>'
        '<td class="paramname"><em>a</em>, </td></tr><tr><td class="paramkey"></td><td></td><td class="paramtype">int&#160;</td>'
        '<td class="paramname"><em>b</em>&#160;</td></tr><tr><td></td><td>)</td><td></td><td></td></tr></table></div>'
    )
    assert fences(doxygen) == [("cpp", "void push (int a,\nint b\n)")]


def test_code_spans_stay_inline():
    text, items = protected_of(
        "<p>Call <code>f(\n  x)</code>, <tt>a&nbsp;b</tt>, press <kbd><kbd>Ctrl</kbd>+<kbd>C</kbd></kbd>, see <samp>x</samp>, "
        "<code><a href=#>Link</a>.<b>go</b></code> and <var>n</var>, <code></code><code>one</code><code>two</code>.</p>"
    )
    assert [content for _, content in items] == ["f( x)", "a b", "Ctrl+C", "x", "Link.go", "onetwo"]
    assert {kind for kind, _ in items} == {"code"}
    assert text == "Call Qzxc0z, Qzxc1z, press Qzxc2z, see Qzxc3z, Qzxc4z and n, Qzxc5z."


def test_code_that_is_all_of_a_paragraph_is_a_listing():
    assert fences("<p><code>first line\n  second line</code></p>") == [("", "first line\n  second line")]
    assert fences("<p>Say <code>first\n  second</code> now.</p>") == []
    assert fences("<p>Say <code>first<br>second</code> now.</p>") == []
    assert protected_of("<p>Say <code>first<br>second</code> now.</p>")[1] == [("code", "first second")]


def test_a_signature_in_a_cell_is_one_span():
    cell = "<td><code>start(int rows,\n  int columns,\n  int row,\n int column)</code><div>Starts.</div></td>"
    assert protected_of(f"<table><tr>{cell}</tr></table>")[1] == [
        ("code", "start(int rows, int columns, int row, int column)")
    ]


def test_formulas_in_code_elements_are_left():
    for html in (
        '<code class="math">a</code>',
        '<pre class="math">a</pre>',
        '<pre><code class="math">a</code></pre>',
    ):
        assert protected_of(html) == ("a", [])


@pytest.mark.parametrize(
    ("markup", "language"),
    [
        ('<pre class="brush: js; toolbar: false">x</pre>', "javascript"),
        ('<pre><code class="sourceCode r">x</code></pre>', "r"),
        ('<pre class="src src-emacs-lisp">x</pre>', "elisp"),
        ('<div class="highlight-source-c++"><pre>x</pre></div>', "cpp"),
        ('<div class="highlight-text-html-basic"><pre>x</pre></div>', "html"),
        ('<div class="highlight-default notranslate"><div class="highlight"><pre>x</pre></div></div>', ""),
        ('<pre class="language-none">x</pre>', ""),
        ('<div class="lang-en"><pre>x</pre></div>', ""),
        ('<div class="code text"><pre>x</pre></div>', ""),
        ('<pre class="wp-block-code c">x</pre>', "c"),
        ("<pre lang=en data-language=Brainfuck>x</pre>", "brainfuck"),
        ('<div class="box c"><pre>x</pre></div>', ""),
        ('<div class="box"><div class="head"><span>TypeScript</span><button>Copy code</button></div><pre>x</pre></div>', "typescript"),
        ('<h3>Java</h3><pre>x</pre>', "java"),
        ('<p>Go</p><p>Then:</p><pre>x</pre>', ""),
    ],
)  # fmt: skip
def test_the_declared_language(markup, language):
    assert fences(markup) == [(language, "x")]


def test_captions_go_but_not_headings_and_words():
    body = "<div><div>Code:</div><pre>a\nb</pre></div><h2>Code</h2><pre>c\nd</pre><div>Code for the reader of books</div><pre>e\nf</pre>"
    assert protected_of(body)[0] == "Qzxb0zCodeQzxb1zCode for the reader of booksQzxb2z"


def test_a_caption_belongs_to_the_listing_below_it():
    body = "<div><div>Python</div><pre>a\nb</pre><div>Java</div><pre>c\nd</pre></div>"
    assert fences(body) == [("python", "a\nb"), ("java", "c\nd")]
    assert protected_of(body)[0] == "Qzxb0zQzxb1z"
    assert (
        protected_of("<div>As in <b>Python</b>: <pre>a\nb</pre> ... <div>...</div></div>")[0]
        == "As in Python: Qzxb0z ... ..."
    )


def test_rustdoc_signatures():
    html = '<section><a class="src rightside" href="#">Source</a><h4 class="code-header">pub fn <a>new</a>() -&gt; Self</h4></section>'
    assert protected_of(html) == ("Qzxc0z", [("code", "pub fn new() -> Self")])


def test_a_listing_of_spaces_is_none():
    assert protected_of("<pre>  \n \n  \n</pre><p>x</p><pre> <b> </b>\n<i>\n</i> \n</pre>") == ("x", [])


def test_numbers_are_not_always_line_numbers():
    digits = "<pre>" + "3" * 6000 + "</pre>"
    assert len(fences(f"<table><tr><td>{digits}</td><td>x</td></tr></table>{digits}")) == 2
    dots = '<table class="hljs-ln"><tr><td class="hljs-ln-numbers" data-line-number="1"></td><td class="hljs-ln-code" data-line-number="1">...</td></tr><tr><td class="hljs-ln-numbers"></td><td class="hljs-ln-code">1</td></tr></table>'
    assert fences(f"<pre><code>{dots}</code></pre>") == [("", "...\n1")]


def test_prose_in_a_typewriter_face_is_no_listing():
    poem = "<br>".join(
        ["Shall I compare thee to a summer's day?", "Thou art more lovely and more temperate:"] * 3
    )
    for html in (f'<div style="font-family: Courier">{poem}</div>', f'<p class="code">{poem}</p>'):
        assert protected_of(html)[1] == []


def test_a_poem_in_pre_stays_as_it_stands():
    poem = "The fog comes\non little cat feet.\n\nIt sits looking"
    assert fences(f"<pre class=verse>{poem}</pre>") == [("", poem)]


def test_a_page_within_one_pre_becomes_paragraphs():
    words = "these words are of no use but to fill a mail that was sent to a list some day and kept by it"
    parts = [f"Paragraph {n} says that\n{words}\n{words}." for n in range(12)]
    table = "a     b     c\n1     2     3"
    mail = "\n\n".join([*parts[:6], f"> {words}\n> {words}", table, *parts[6:]])
    html = f"<h1>List</h1><pre>{escape(mail)}</pre>"
    tree, protected = HTMLTree.parse(html), Protected.against(html)
    protect_listings(tree, Census.of(html.encode()), protected)
    assert tree.body.query_selector("p").text == " ".join(parts[0].split())
    assert len(tree.body.query_selector_all("p").values()) == 13
    assert tree.body.query_selector("blockquote").text == f"{words} {words}"
    assert protected.items == [("block", f"```\n{table}\n```")]
    assert len(fences(f"<p>{words * 60}</p><pre>{escape(mail)}</pre>")) == 1  # not the page: kept as it is


def test_text_areas():
    assert fences("<textarea>import os\nfrom a import b\n</textarea>") == [
        ("python", "import os\nfrom a import b")
    ]
    assert fences("<textarea class=code>a = 1\nb = 2\n</textarea>") == [("", "a = 1\nb = 2")]
    assert fences("<textarea>&lt;h1>Republish&lt;/h1>\n&lt;p>this&lt;/p></textarea>") == []
    assert fences("<form><textarea name=comment>My words\nto you</textarea></form>") == []


@pytest.mark.parametrize(
    "html",
    [
        '<div style="font-family:monospace">' * 2000 + "text<br>x " * 2000,
        "<pre>" * 2000,
        "<pre><code><table><tr><td><div><ol><li>" * 300 + "a",
        "<div>word " + "<code>a</code><br>" * 4000,
        "<div>" + "<code>a\nb</code> " * 2000,
        "<pre>" + "1 2 3\n" * 50_000,
        "<pre>" + "\n" * 300_000 + "x</pre>",
        "<code>" * 16_000,
        '<span style="font-family:monospace">a<br>' * 8000,
    ],
    ids=[
        "nested boxes",
        "nested empty",
        "broken",
        "spans and breaks",
        "spans of two lines",
        "numbers",
        "blank lines",
        "nested spans",
        "nested faces",
    ],
)
def test_hostile_pages_take_bounded_time(html):
    in_time(1.5, lambda: listings_of(html))  # 0.3 s measured


def test_eighty_thousand_spans_take_milliseconds():
    line = '<span class="n">x</span> <span class="o">=</span> <span class="mi">1</span><span class="p">;</span>\n'
    html = f'<pre class="language-c">{line * 20_000}</pre>'
    # 80,000 spans; node by node it takes minutes
    assert in_time(1, lambda: listings_of(html))[0][1].count("\n") == 20_001


def listings_of(html: str) -> list[tuple[str, str]]:
    tree, protected = HTMLTree.parse(html), Protected.against(html)
    protect_listings(tree, Census.of(html.encode()), protected)
    return protected.items
