"""Which language a listing is in: names as pages write them made one, and a guess by content for the rest.

The guess looks at the first lines. The first word of a line selects the few patterns that the rest of the line is held
against; points are added up by language. That takes some tens of microseconds, and it says nothing rather than
something doubtful. (A tagging model such as magika takes a thousand times as long.)
"""

from __future__ import annotations

import json
import re
from collections import defaultdict

_NAMES = """\
ada; asm assembly assembler nasm masm gas armasm x86asm; agda; apache apacheconf; awk gawk
bash sh shell zsh ksh shellscript shell-script; batch bat cmd dos dosbatch; bibtex
c ansi-c c99; clojure clj cljs; cmake; cobol; coffeescript coffee
console shell-session shellsession sh-session bash-session; cpp c++ cxx cc hpp cplusplus; crystal
csharp c# cs c-sharp; css; csv; cuda cu; cython pyx; d dlang; dart; diff patch udiff; dockerfile docker
elisp emacs-lisp; elixir ex exs; elm; erb; erlang erl; fish; forth; fortran f77 f90 f95; fsharp f# fs; gap; gdscript
gherkin; glsl; go golang; graphql gql; groovy gradle; haml; handlebars hbs; haskell hs lhs; haxe; hcl terraform tf; hlsl
html htm xhtml html5 html-basic text-html-basic; http https; idl; ini cfg conf dosini properties; java jdk
javascript js jscript node nodejs mjs es6 ecmascript; jinja jinja2 django; json jsonc json5 jsonld; jsx javascriptreact
julia jl julia-repl; kotlin kt kts; latex tex; lean lean4; less; lisp common-lisp cl; llvm; lua; make makefile gnumake mk
markdown md gfm; mathematica wolfram; matlab; maxima; mermaid; nginx; nim nimrod; nix; objectivec objc obj-c objective-c
ocaml ml; octave; output; pascal delphi objectpascal; perl pl perl5; php php3 php5 php7; powershell ps ps1 pwsh posh
prolog; protobuf proto; puppet pp; pycon python-repl python-console doctest pycon3
python py py2 py3 python2 python3 ipython ipython2 ipython3 sage; qml; r rlang rscript splus; racket rkt; rconsole
rst rest restructuredtext; ruby rb; rust rs; sas; sass; scala; scheme scm; scss; smalltalk; smt2; solidity sol; sparql
sql mysql pgsql plpgsql postgresql postgres plsql tsql sqlite mssql sqlite3 psql; stata; svelte; svg; swift
systemverilog; tcl; thrift; toml; tsx typescriptreact; turtle; twig; typescript ts; vala; vbnet vb.net vb visualbasic
verilog; vhdl; vim viml vimscript; vue; wasm wat; xml xsl xslt xsd rss wsdl maven; xquery; yaml yml; zig
"""
NAMES = {alias: group.split()[0] for group in _NAMES.replace("\n", ";").split(";") for alias in group.split()}
# What pages write where they declare none, and languages of people.
_NO_LANGUAGE = """\
default none text plain plaintext plain_text txt notranslate nohighlight no-highlight numberlines source
wrapper auto unknown other code block inline container snippet raw null undefined language en de fr es it ja
ru pt ko zh nl title example literal highlight highlighter switcher button toggle copy content box group
"""
NO_LANGUAGE = frozenset(_NO_LANGUAGE.split())
WELL_FORMED = re.compile(r"[a-z][a-z0-9+#_.-]{0,19}")
LOCALE = re.compile(r"[a-z]{2}[-_][a-z]{2}")

# language, points a line, its first words | the rest of the line. `$`, `@`: any word after the sign; `*` and
# a string: any line that holds it (`_` for a space) and that no other rule spoke for. Several languages tie.
_RULES = r"""
python 3 def class elif for while with except async try finally else if | [^{;]*[\w\])'"\s]:
python 3 from | [\w.]+ import .+
python 2 import | [\w.]+ as \w+|[a-z_]\w*(?:\.\w+)*(?:, *\w+)*
python 2 raise assert pass nonlocal global except | \w*(?:[( ].*[^;{])?
python 2 self | \.\w+.*[^;{]
python 1 print | \(.*\)|["'].*
python 1 @ | [\w.]*(?:\(.*\))?
python 1 return yield | (?:None|True|False|not .+|self\.\w+|.* (?:and|or|is|in|for) .*)[^;]*
python 1 *= | (?:[\w.]+, ?)*[\w.]+ = (?:None|True|False|\[.*\bfor\b.*|lambda .*|\w+(?:\.\w+)*\(.*\w=.*\)|f["'].*)
cython 4 cdef cpdef cimport | .+
ruby 3 def | (?:self\.)?\w+[?!=]?(?: ?\([^:]*\))?
ruby 3 require require_relative gem | ['"][^;]*
ruby 3 attr_accessor attr_reader has_many belongs_to validates | :.+
ruby 2 module class | [A-Z][\w:]*(?: < [A-Z][\w:]*)?
ruby 2 puts elsif unless rescue | [^{;:]*
ruby 2 *do_ *{ | .* do \|[\w, ]+\||.*\{ ?\|\w+(?:, ?\w+)*\|.*
ruby,lua,julia,matlab,elixir 1 end | (?:\.\w+.*)?
elixir 4 defmodule defp def defmacro | .* do|.*, do: .*
elixir 2 alias use import | [A-Z]\w*(?:\.[A-Z]\w*)+.*
elixir 2 *> | .*\|> [A-Z]\w*\.\w+.*
javascript 3 console | \.(?:log|error|warn|info|table)\(.*
javascript 3 document window module exports jQuery process | [.(]\w*.*
javascript 3 const let var | .*(?:=>|function ?\*?\(|require\(|document\.|await |===).*
javascript 2 const | (?:\w+|[{\[][^}\]]*[}\]]) = ['"`{\[\w(].*
javascript,rust,swift 1 let | (?:\w+|[{\[][^}\]]*[}\]]) = ['"`{\[\w(].*
javascript 2 import | (?:[\w*{}, $]+ from )?['"][^'"]+['"];?
javascript 2 import export | (?:\{|default |const |function |class |async |\* ).*
javascript 2 function async | \*?(?: ?function)? ?\w* ?\([^:$&]*\) ?\{.*
javascript 1 var | \w+ ?= ?[^$]+;
javascript 1 for | \((?:var|let|const) .*
javascript 3 $ | [(.].*|\w+[.(](?:on|click|ready|ajax|css|each|addClass)?\(.*
javascript 2 }) }); | .*
javascript 2 *=== *!== | .*[\w)'\"\]] [!=]== .*
javascript 2 *=> | .*\) ?=> ?[{(\w].*
javascript 2 *function | .*\bfunction ?\(\w*(?:, ?\w+)*\) ?\{.*
typescript 4 interface type enum | \w+(?:<.*>)? ?(?:extends [\w<>, ]+ ?)?(?:\{|= .*)
typescript 4 export declare | (?:default )?(?:abstract )?(?:interface|type|enum|namespace|declare) .*
typescript 4 const let function private readonly public constructor | .*\w\??: ?(?:string|number|boolean|any|void|\w+\[\]|Promise<.*)\b.*
typescript 3 *:_ | \w+\??: (?:string|number|boolean|any|unknown|Date)(?:\[\])?;
java 3 import package | (?:static )?(?:java|javax|org|com|net|io|android|edu|jakarta)\.[\w.*]+;
java 2 package | [a-z][\w.]*;
java 2 public private protected | (?:(?:static|final|abstract|synchronized) )*(?:class|interface|enum|@interface|record) \w+.*
java 3 public private protected static final abstract | .*\b(?:String|boolean|List<\w+>|Map<.*>|ArrayList<.*>|Integer|Object)\b.*[;{]
java 2 public private protected static final | (?:(?:static|final|abstract|synchronized) )*[\w.<>\[\]]+ \w+ ?(?:\(.*\) ?(?:throws .*)?\{?|= .*;|;)
java 3 System | \.(?:out|err|in|currentTimeMillis)\b.*
java 3 @Override @Test @Autowired @Entity @Inject @RestController @Bean @Deprecated @SuppressWarnings | .*
java 1 String List Map Set Integer ArrayList Scanner Object | .*[;{]
java 1 *=_new_ | [A-Z]\w*(?:<.*>)? \w+ = new [A-Z].*;
kotlin 4 fun suspend companion | .*
kotlin 4 data sealed override private internal open | (?:class \w+\(?|fun .*|va[lr] .*)(?:.*)
kotlin 3 val var | \w+(?:: [\w<>?]+)? (?:= (?:listOf|mutableListOf|mapOf|arrayOf|setOf|lazy|remember).*|by .*)|\w+: \w+\?.*
kotlin,scala 1 val | \w+(?:: \w+)? = [^;]+
scala 4 object trait sealed | (?:trait |class )?\w+(?:\[.*\])?(?: extends .+)?(?: ?\{)?
scala 4 case | (?:class|object) \w+.*
scala 3 def override implicit | .*(?:\)|\w): [\w\[\], ]+ = .*|val .*|def .*=.*
scala 3 import | [\w.]+\.(?:_|\{.*\})
groovy 3 plugins dependencies repositories buildscript android | \{
groovy 3 implementation compile testImplementation testCompile api apply | (?:plugin: )?['"(].*
groovy 1 def | \w+ = .+[^;:]
csharp 4 using | (?:static )?(?:System|Microsoft|UnityEngine|Newtonsoft|NUnit|Xunit)[\w.]*;
csharp 3 namespace | [A-Z][\w.]*[;{]?
csharp 4 public private protected internal static | .*(?:\{ ?get;|\b(?:override|virtual|async Task|readonly|partial|IEnumerable<|string|bool|decimal)\b).*
csharp 3 Console | \.\w+\(.*
csharp 3 foreach | \((?:var|[A-Z]?\w+) \w+ in .*
csharp 2 var string bool | \w+ = .*;
csharp 3 #region #endregion | .*
c 3 #include | <(?:std(?:io|lib|int|bool|arg|def)|string|math|unistd|sys/\w+|errno|ctype|assert|time|signal|pthread|linux/[\w/]+)\.h>.*
c 2 #include | [<"][\w/.+-]+\.h[>"].*
c 2 #define #ifdef #ifndef #if #endif #undef #pragma #else #elif | .*
c 3 typedef struct union enum | (?:struct |union |enum |unsigned |int |void |char )?\**\w+ ?(?:\{|\**\w+.*;|;)
c 2 unsigned extern size_t FILE inline uint32_t uint8_t uint64_t int32_t | .*[;{),]
c,java 1 int void char static double float long const bool boolean | .*\w ?\([^()]*\) ?[{;]?
c,java 1 int char double float long const short bool boolean final | [\w ]+(?:\[.*\])? ?(?:=.*)?;
c 2 char FILE struct void int const static double float unsigned | [\w ]*\*+ ?\w+.*
c 2 printf fprintf malloc free memcpy scanf sprintf strcpy memset | \(.*\);
c 2 *-> | [^$]*\w->\w+[^$]*[;{]
c 2 *NULL | .*
cpp 5 #include | <(?:[a-z_]+|Eigen/.*|boost/.*|Q\w+|bits/.*)>.*
cpp 4 using | namespace \w+(?:::\w+)*;|\w+ = .+;|[\w:]+::\w+;
cpp 4 template namespace explicit virtual friend constexpr typename Q_OBJECT | .*
cpp 4 class struct | \w+(?: final)? ?: ?(?:public|private|protected) .*
cpp 3 public private protected | :|slots:
cpp 4 std cout cin cerr | (?:::|<<|>>).*
cpp 2 auto | &?&? ?\w+ = .*;
cpp 2 delete | (?:\[\] ?)?\w+;
cpp 3 int void bool const double return unsigned inline static for if float char | .*(?:\w::~?\w|nullptr|\w& ?\w).*
cpp 3 *:: | [^$]*\w+(?:::\w+)+(?:<.*>)?[ (][^$]*[;{),]|.*\bstd::\w.*|.*_cast<.*
objectivec 5 @interface @implementation @property @end @protocol #import @synthesize @selector | .*
objectivec 4 - + | \(\w+ ?\*?\) ?\w+.*
objectivec 3 *NS *[ | NS\w+ ?\*\w+.*;|\[\[?[A-Za-z]\w+ \w+.*\];
go 4 package | \w+
go 4 func | (?:\(\w+ \*?\w+(?:\[.*\])?\) )?\w*(?:\[.*\])?\(.*\).*\{?.*
go 4 type | \w+ (?:struct|interface|func).*
go 4 import | \(|"[\w./-]+"|\w+ "[\w./-]+"
go 4 if for | .* := .*\{|.*err != nil.*
go 3 fmt | \.[A-Z]\w+\(.*[^;]
go 2 defer go var | (?:func|\w+).*[)\w{}]
go 2 *:= | \w+(?:, \w+)* := [^;]+
rust 4 fn impl | [\w<].*[({<].*|.* for .*
zig 6 const pub | .*(?:@import|!void|!u8|\[\]const u8|\*std\.).*
rust 4 pub unsafe | (?:\(\w+\) )?(?:fn|struct|enum|trait|mod|use|type|const|static|async|unsafe|impl|extern)\b.*
rust 4 let | mut \w+.*
rust 2 let | \w+(?:: [^=]+)? = .*(?:::|!\(|&|\?;|\.unwrap).*;
rust 3 use extern mod | (?:std|crate|super|self|core|alloc|\w+)::.+;|crate \w+;
rust 3 match | .+ \{
rust 4 println! assert_eq! assert! vec! panic! eprintln! format! macro_rules! write! writeln! print! #[derive #[cfg #[test #![feature #[ | .*
rust 1 struct enum trait | \w+(?:<.*>)? ?\{
swift 4 func | \w+(?:<.*>)?\((?:_ \w+|\w+ \w+|\w+):.*|\w+\(\)(?: throws)? ?(?:-> .+)?\{
swift 4 guard if | let \w+ = .*
swift 4 import | (?:UIKit|Foundation|SwiftUI|Combine|XCTest|AppKit|CoreData)
swift 3 let var | \w+: (?:\[?[A-Z]\w*[\]?!]*)(?: = .*| \{.*)?|\w+ = [A-Z]\w*\(.*[^;]
swift 4 extension protocol struct class | \w+: [A-Z][\w, ]* \{
swift 3 override @IBOutlet @IBAction @objc @State | .*
swift 1 let var | \w+ = [^;]+
php 9 <?php | .*
php 3 $this | ->.*
php 3 echo | .*[$"'].*;
php 3 use namespace | [A-Z]\w*(?:\\\w+)+(?: as \w+)?;|[A-Z]\w*;
php 3 public private protected function static | .*\$.*|.*function \w+\(.*\).*
php 3 foreach | \(\$\w.* as .*
php 3 require_once include_once require include | .*\.php.*
php,perl 1 if while return elsif unless | .*\$\w+.*
php 2 if while return echo print | .*(?:\$\w+\[['\"]|isset\(|\$\w+->\w+\(|empty\(|\w+::).*
php 3 add_action add_filter | \(.*
php 3 $ | .*(?:array\(| = \[|= new |\w::).*;
php,perl 2 $ | .* ?\.?= ?.*;|.*->.*;
perl 4 my our local | \(?[$@%]\w.*
perl 4 use | (?:strict|warnings|utf8|v?5[\d.]*|lib .+|[A-Z]\w+(?:::\w+)+.*);?
perl 3 sub | \w+ ?\{?.*
perl 3 foreach for while if unless push print die return | .*\(.*(?:[@%]\w+|<\w*>|\$_\b|=~|@\{|%\{|defined ).*|.*[@%]\w+.*;
perl 2 $ | .*(?:=~|->\{|@_|=> ).*
bash 3 if elif while until | (?:! ?)?\[\[? .*|.*; (?:then|do)|true; do
bash 2 fi done esac then do | ;?(?: .*)?
bash 3 for | \w+ in [^:{]*|\(\(.*
bash 2 export local readonly alias unset | \w+=?.*
bash 2 echo | .*\$[\w({].*|[^;()]*|".*" ?>.*
bash 2 source set read trap eval exec | [~/$"\w.-].*
bash 3 sudo apt-get apt yum dnf brew npm npx yarn pnpm docker kubectl helm systemctl apk pacman | -{0,2}[a-z][^;={}()]*
bash 3 pip pip3 git cargo gem bundle conda rustup terraform aws gcloud az heroku composer mvn poetry uv go | -{0,2}[a-z][\w:.@/-]*(?: [^;{}()]*)?
bash 3 cd mkdir rm cp mv chmod chown tar ls ln rsync unzip touch scp ssh cat | (?:-\w+ )*[~./\w$"*@:+-]+(?: [^;{}]*)?
bash 3 curl wget | .*(?:https?:|-\w).*
bash 2 grep sed find make cmake python python3 php node ./configure virtualenv | -?[\w./'"-].*
sql 4 select | .+ from .*|(?:distinct |top |count).*|[\w.*, ]+
sql 4 insert delete update create alter drop truncate grant merge | (?:into|from|or|temporary|temp|unique|table|view|index|database|user|function|procedure|trigger|schema|role|select|[\w.`"]+ set)\b.*
sql 2 from where group order having inner left join values limit union on | [\w.`"\[(].*
sql 2 with | \w+ as \(.*
r 4 library require | \(["']?\w+["']?\)
r 4 install.packages set.seed ggplot data.frame summary head str geom_point | \(.*\)
r 3 *<- | [\w.]+(?:\$\w+|\[.*\])* ?<- ?[^;]+
r 2 *%>% | .*
lua 4 local | (?:function )?\w+(?:, ?\w+)* ?[=(][^$]*
lua 3 function | \w+[.:]\w+\(.*\)
lua 3 if elseif for while | .* (?:then|do)
julia 4 using | [A-Z]\w*(?:[,:.] ?\w+)*
julia 3 function mutable | [\w!.]+(?:\{.*\})?\(.*\)(?:::\w+)?|struct .*
julia 2 println @time @show @test | [( ].*
matlab 4 function | (?:\[[\w, ]+\]|\w+) ?= ?\w+(?:\(.*\))?;?
matlab 3 clc clear close figure hold disp fprintf subplot xlabel | (?:all|on|off)?;?|\('.*\);?
matlab 1 *= | \w+ ?= ?\[.*[; ].*\];
haskell 4 module import | (?:qualified )?[A-Z][\w.]*(?: ?\(.*| where| as [A-Z].*| hiding .*)
haskell 4 data newtype instance deriving class | [A-Z(].*(?:=|where|=>).*|\(.*\)
haskell 3 *:: | [a-z]\w*'* +:: +.*
ocaml 4 let | rec .*|\w+ .*=\s*(?:function|fun .*|match .*)|.* in
ocaml 3 open | [A-Z]\w*
ocaml 4 module val | [A-Z]\w* = struct|\w+ : .+
lisp 4 (defun (defmacro (defparameter (defclass (in-package (loop (format | .*
elisp 6 (setq (use-package (defcustom (add-hook (require (defvar (global-set-key (add-to-list (interactive | .*
clojure 6 (defn (ns (def (let (:require (deftest (defn- | [ \[].*
scheme 5 (define (define-syntax | .*
erlang 5 -module -export -include -spec -define -record | [( ].*
dart 5 import | 'package:.+|'dart:.+
dart 3 Widget @override | .*
powershell 4 $ | .*(?:New|Get|Import|ConvertTo|Invoke|Select)-[A-Z]\w+.*
powershell 4 *- | [A-Z][a-z]+-[A-Z]\w+(?: .*)?
batch 5 @echo rem | .*
vbnet 4 Dim Sub Public Private Imports | (?:Shared )?(?:Sub |Function )?\w+(?: As .*|\(.*)?
vbnet 4 End | (?:Sub|Function|If|Class|Module)
fortran 4 program subroutine implicit integer real end | \w+|\w+ ?\(.*\)|.*::.*|(?:program|subroutine|function|do|if)\b.*
pascal 4 program unit procedure uses | [\w., ]+(?:\(.*\))?;
pascal 2 *:= | \w+ ?:= ?.+;
verilog 5 module always assign endmodule wire reg | .*(?:;|\(|begin)|
vhdl 5 entity architecture library signal | \w+ (?:is|of .*|:.*)|ieee;
latex 5 \documentclass \begin \usepackage \section \newcommand \end \item \subsection | .*
dockerfile 4 FROM RUN COPY WORKDIR ENTRYPOINT EXPOSE ENV CMD | [\w./\["].*
make 5 .PHONY CFLAGS CC OBJS SRCS LDFLAGS CXXFLAGS | [:+?]?=.*|:.*
cmake 6 cmake_minimum_required add_executable add_library target_link_libraries find_package add_subdirectory project | \(.*
nginx 5 server location upstream | [^.=(]*\{
nginx 5 proxy_pass server_name listen | [^=(]*;
graphql 5 query mutation subscription fragment | \w*(?:\(.*\))? ?\{|\w+ on .*
protobuf 6 syntax message service rpc repeated | = "proto\d";|\w+ \{|\w+ ?\(.*|\w+ \w+ = \d+;
http 6 GET POST PUT DELETE PATCH HTTP | /\S*(?: HTTP.*)?|https?:\S+.*|/[\d.]+ \d{3}.*
vim 4 nnoremap inoremap noremap autocmd augroup Plug | .*
tcl 5 proc | \w+ \{.*
solidity 6 pragma contract mapping emit | solidity.*|\w+.*\{|.*;
"""
HEAD_CHARS, HEAD_LINES = 2_000, 30
ENOUGH, LEAD = 3, 1.4  # points that the best needs, and times what the second has
FIRST_WORD = re.compile(r"\s*((?:<\?|\\|[#(@.$-]!?\[?:?)?[A-Za-z_][\w.]*-?!?|\}\)?;?|\S)(.*)")
COMMENT = re.compile(
    r"\s*(?://|/\*|\*|--\s|%|;;|#(?!\[|!\[|\s*(?:include|define|if|endif|else|elif|undef|pragma|import|region|endregion)\b))"
)
TRAILING = re.compile(r"\s+(?:#|//|--|/\*).*$")
Rule = tuple[list[str], int, re.Pattern[str]]


def language_name(declared: str, known: bool = False) -> str:
    """The common name of a language that a page declares ("py" → "python"); "" for none, "text" and the like.

    `known`: only what is in the list of names.
    """
    name = declared.lower().strip(" .;,:").removeprefix("source-")
    name = name.rsplit("/", 1)[-1].removeprefix("x-")  # media types: text/x-python
    if found := NAMES.get(name) or NAMES.get(name.rsplit(".", 1)[-1]):  # source.python
        return found
    if known or name in NO_LANGUAGE or not WELL_FORMED.fullmatch(name) or LOCALE.fullmatch(name):
        return ""
    return name


def guess_language(code: str) -> str:
    """The language that a listing looks like, "" when unsure.

    >>> guess_language("for name in names:\\n    print(name)")
    'python'
    >>> guess_language("To be, or not to be")
    ''
    """
    head = code[:HEAD_CHARS].strip("\n")
    lines = [line for line in head.split("\n", HEAD_LINES)[:HEAD_LINES] if line and not line.isspace()]
    if not lines:
        return ""
    return _by_shape(code, lines) or _by_lines(lines)


def _by_lines(lines: list[str]) -> str:
    points: dict[str, int] = defaultdict(int)
    for line in lines:
        if COMMENT.match(line) or (found := FIRST_WORD.match(line)) is None:
            continue
        word, rest = found[1], found[2].strip()
        rules = RULES.get(word)
        if rules is None and "." in word:  # self.x, System.out
            word, dot, after = word.partition(".")
            rules, rest = RULES.get(word), dot + after + rest
        if rules is None and word[:1] in ("$", "@"):
            rules, rest = RULES.get(word[0]), word[1:] + rest
        if rules is not None and ("#" in rest or "/" in rest or "--" in rest):
            rest = TRAILING.sub("", rest)
        if rules is None or not _score(rules, rest, points):
            line = line.strip()
            _score([rule for needle, rule in ANYWHERE if needle in line], line, points)
    if not points:
        return ""
    for narrow, wide in WIDER.items():
        if points[wide] >= ENOUGH:
            points[wide] += points.pop(narrow, 0)
    best = max(points, key=lambda name: points[name])
    second = max((score for name, score in points.items() if name != best), default=0)
    return best if points[best] >= ENOUGH and points[best] >= LEAD * second else ""


def _score(rules: list[Rule], rest: str, points: dict[str, int]) -> bool:
    scored: list[str] = []
    for languages, value, pattern in rules:
        if pattern.fullmatch(rest):
            for language in languages:
                if language not in scored:
                    points[language] += value
                    scored.append(language)
    return bool(scored)


def _read_rules() -> tuple[dict[str, list[Rule]], list[tuple[str, Rule]]]:
    by_word: dict[str, list[Rule]] = defaultdict(list)
    anywhere: list[tuple[str, Rule]] = []
    for row in _RULES.strip().split("\n"):
        head, _, pattern = row.partition(" | ")
        languages, points, *words = head.split()
        compiled = re.compile(pattern, re.IGNORECASE if languages == "sql" else 0)
        rule = (languages.split(","), int(points), compiled)
        for word in words:
            if word[0] == "*":
                anywhere.append((word[1:].replace("_", " "), rule))
            else:
                by_word[word].append(rule)
                if languages == "sql":
                    by_word[word.upper()].append(rule)
    for rules in by_word.values():
        rules.sort(key=lambda rule: -rule[1])
    return dict(by_word), anywhere


RULES, ANYWHERE = _read_rules()
# The first is part of the second: what speaks for it speaks for the other too, where that shows.
WIDER = {"c": "cpp", "javascript": "typescript", "python": "cython"}

SESSION = re.compile(
    r"(?:[\w.@:~/\\-]+|\([\w.-]+\) ?)?[$%] [\w./~]|[\w.-]+@[\w.-]+:\S*[$#] \S|(?:~|/\S*)? ?❯ \S|# (?:apt|yum|dnf|systemctl|cd|pip|make|mount|chmod|mkdir|service|zypper|emerge|pacman)\b"
)
DIFF = re.compile(r"diff --git |--- \S+.*\n\+\+\+ |Index: \S+\n|@@ -\d+(?:,\d+)? \+\d+|\*\*\* \S+.*\n--- ")
SHEBANG = re.compile(r"#!\s*/\S*?(?:env\s+(?:-S\s+)?)?(\w+?)[\d.]*(?:\s|$)")
MARKUP = re.compile(
    r"<(?:!doctype|\?xml|!--|/?[a-z][\w:.-]*(?:\s+[\w:@.#*()\[\]-]+(?:\s*=\s*(?:\"[^\"]*\"|'[^']*'|[^\s>]+))?)*\s*/?>)",
    re.I,
)
HTML_TAGS = re.compile(
    r"<(?:!doctype html|html|head|body|div|p|a|span|ul|ol|li|table|tr|td|th|form|input|script|style|link|meta|img|h[1-6]|button|br|"
    r"section|nav|header|footer|main|article|label|select|option|textarea|iframe|video|audio|canvas|strong|em|b|i|pre|code|title)\b",
    re.I,
)
JSX = re.compile(r"className=|\w=\{|\{\s*[\w.]+(?:\.map\(| &&| \?)|\{/\*")
YAML_LINE = re.compile(r"\s*(?:- +)*[\w./$\"'-]+:(?:\s+\S.*)?|\s*-(?: +\S.*)?|---|\s*#.*|\.\.\.")
YAML_KEY = re.compile(r"\s*(?:- +)*[\w./-]+:(?:\s|$)")
INI_HEAD = re.compile(r"\[\[?[\w. :\"/-]+\]\]?\s*(?:[#;].*)?")
INI_LINE = re.compile(r"\s*[\w.\"-]+\s*=\s*.*|\s*[#;].*|\s+\S.*|\[\[?.+\]\]?|[\]}]")
TOML_VALUE = re.compile(r"[\w.-]+ ?= ?(?:\".*\"|\[.*|true|false|\{.*|[\d.]+)\s*(?:#.*)?")
CSS = re.compile(
    r"\s*(?:@(?:media|import|font-face|keyframes|charset|supports)\b.*|(?!(?:interface|enum|struct|class|message|export|public|union|type|server|location|fn|func|impl|def|if|for)\b)(?:[.#]?-?[\w-]+|\*|:root|\[[^\]]+\])[^;{}()=]*(?:\([^)]*\)[^;{}=]*)?(?:[,{]|\{.*\})\s*)"
)
CSS_DECLARATION = re.compile(
    r"\s*-?-?[a-z][a-z-]*\s*:(?![:=])\s*[^;{}:]+(?::[^;{}]+)?;\s*\}?|.*\{\s*[a-z-]+\s*:[^;]+;?.*\}"
)
DIFF_LINE = re.compile(r"[ +@-].*|\\ No newline.*")


def _by_shape(code: str, lines: list[str]) -> str:
    """Languages that show by the form of the whole: sessions, markup, data, style sheets."""
    first = lines[0].lstrip()
    if first.startswith("#!") and (found := SHEBANG.match(first)):
        return NAMES.get(found[1], "")
    if first.startswith((">>> ", "... ")) or sum(line.lstrip().startswith(">>> ") for line in lines) >= 2:
        return "pycon"
    if first.startswith(
        ("In [", "sage: ", "julia> ", "irb(", "mysql> ", "postgres=#", "sqlite> ", "iex(", "ghci> ")
    ):
        return {
            "In": "python",
            "sa": "pycon",
            "ju": "julia",
            "ir": "ruby",
            "ie": "elixir",
            "gh": "haskell",
        }.get(first[:2], "sql")
    if first.startswith("PS ") and re.match(r"PS [A-Z]:\\|PS> |PS /", first):
        return "powershell"
    if DIFF.match(first + "\n" + (lines[1] if len(lines) > 1 else "")) or (
        first.startswith(("--- ", "diff ")) and "\n@@ " in code[:HEAD_CHARS]
    ):
        return "diff"
    if sum(line[0] == "+" for line in lines) * 4 >= len(lines) > 1 and all(map(DIFF_LINE.fullmatch, lines)):
        return "diff"
    if first[0] == "<" and MARKUP.match(first) and not first.startswith("<?php"):
        return _markup(lines, first)
    if first[0] in "{[" and (language := _json(code, lines)):
        return language
    if SESSION.match(first):
        return "console"
    section = next((line for line in lines if line[0] not in "#;"), "")
    if INI_HEAD.fullmatch(section) and "=" in code and len(lines) > 1 and all(map(INI_LINE.fullmatch, lines)):
        typed = sum(map(bool, map(TOML_VALUE.fullmatch, lines)))
        return "toml" if typed * 2 > len(lines) - 1 else "ini"
    keys = sum(map(bool, map(YAML_KEY.match, lines)))
    if keys >= 2 and keys * 2 >= len(lines) and all(map(YAML_LINE.fullmatch, lines)) and _nested(lines):
        return "yaml"
    if CSS.fullmatch(lines[0]) or first.startswith(("@media", "@import url", "@font-face", "/*")):
        declared = sum(map(bool, map(CSS_DECLARATION.fullmatch, lines)))
        if declared and declared * 3 >= len(lines) - 1:
            return (
                "scss"
                if re.search(r"^\s*(?:\$[\w-]+:|@include|@mixin|&[:.-])", code[:HEAD_CHARS], re.M)
                else "css"
            )
    return ""


def _markup(lines: list[str], first: str) -> str:
    text = "\n".join(lines)
    if first.startswith("<?xml"):
        return "xml"
    if "<?php" in text:
        return "php"
    if "<template>" in text and re.search(r"<script\b", text):
        return "vue"
    if JSX.search(text):
        return "jsx"
    if HTML_TAGS.search(text):
        return "html"
    return "xml" if re.search(r"</\w|/>|xmlns", text) else ""


def _json(code: str, lines: list[str]) -> str:
    if len(code) <= 100_000 and code.rstrip()[-1] in "}]":
        try:
            value = json.loads(code)
        except (ValueError, RecursionError):
            pass
        else:
            return (
                "json"
                if isinstance(value, dict) or len(lines) > 1 or (value and isinstance(value[0], dict))
                else ""
            )
    members = sum(bool(re.match(r'\s*"[^"\n]*"\s*:', line)) for line in lines)
    return (
        "json" if lines[0].strip() in ("{", "[", "[{") and members * 2 >= len(lines) - 2 and members else ""
    )


def _nested(lines: list[str]) -> bool:
    """Keys alone are also headers of mails and plain lists; YAML nests, or writes lists under keys."""
    return any(line.rstrip().endswith(":") for line in lines) or any(
        line.lstrip().startswith("- ") for line in lines
    )
