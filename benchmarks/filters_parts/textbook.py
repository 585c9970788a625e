"""Pages with formulas as every textbook has them, written here: what they share with benchmark problems proves nothing."""

from __future__ import annotations

import random

# title, statement, an exercise with numbers {a} < {b} < {c}
TOPICS = (
    ("The quadratic formula", r"The solutions of $ax^2+bx+c=0$ are \[x=\frac{-b\pm\sqrt{b^2-4ac}}{2a}.\]",
     r"Solve $x^2-{b}x+{a}=0$. Here $b^2-4ac = {b}^2-4\cdot{a}$, so that both roots follow at once."),
    ("Pythagoras", r"In a right triangle with legs $a$ and $b$ and hypotenuse $c$ we have $a^2+b^2=c^2$.",
     r"A right triangle has legs {a} and {b}. Find the length of its hypotenuse: $c=\sqrt{{a}^2+{b}^2}$."),
    ("Geometric series", r"For $|r|<1$ the sum is $\sum_{n=0}^{\infty} ar^n = \frac{a}{1-r}$, and a finite one is $a\frac{1-r^n}{1-r}$.",
     r"Find the sum of the infinite geometric series with first term {b} and ratio $\frac{1}{{a}}$."),
    ("Arithmetic series", r"The sum of the first $n$ positive integers is $\frac{n(n+1)}{2}$.",
     r"What is the sum of the first {c} positive integers? We get $\frac{{c}\cdot({c}+1)}{2}$."),
    ("The binomial theorem", r"For every natural $n$: $(x+y)^n=\sum_{k=0}^{n}\binom{n}{k}x^{n-k}y^k$.",
     r"The coefficient of $x^{a}$ in $(1+x)^{{b}}$ is $\binom{{b}}{{a}}$."),
    ("Squares of sums", r"$(a+b)^2=a^2+2ab+b^2$, $(a-b)^2=a^2-2ab+b^2$ and $(a+b)(a-b)=a^2-b^2$.",
     r"Factor $x^2-{b}^2$ completely. By the third of these it is $(x+{b})(x-{b})$."),
    ("Trigonometric identities", r"For all $x$: $\sin^2 x+\cos^2 x=1$, and $\sin 2x=2\sin x\cos x$.",
     r"If $\sin x=\frac{{a}}{{c}}$ and $x$ is acute, find $\cos x$ by the first identity."),
    ("Special angles", r"$\sin 30^\circ=\frac12$, $\cos 60^\circ=\frac12$, $\tan 45^\circ=1$, $\sin 60^\circ=\frac{\sqrt3}{2}$.",
     r"A ladder of {c} feet leans at $60^\circ$. How high does it reach? $h={c}\sin 60^\circ$."),
    ("The law of cosines", r"In any triangle $c^2=a^2+b^2-2ab\cos C$.",
     r"Two sides of a triangle are {a} and {b}, with $60^\circ$ between them. Find the third."),
    ("The law of sines", r"$\frac{a}{\sin A}=\frac{b}{\sin B}=\frac{c}{\sin C}=2R$.",
     r"In triangle $ABC$, $AB={b}$ and $\angle C=30^\circ$. What is the radius of the circumscribed circle?"),
    ("Area of a circle", r"A circle of radius $r$ has area $\pi r^2$ and circumference $2\pi r$.",
     r"The radius of a circle is {a} inches. What is its area, in terms of $\pi$?"),
    ("Volumes", r"A sphere has volume $V=\frac{4}{3}\pi r^3$, a cone $V=\frac13\pi r^2h$, a cylinder $\pi r^2h$.",
     r"A cone of height {b} has a base of radius {a}. What is its volume? Express your answer in terms of $\pi$."),
    ("Heron's formula", r"With $s=\frac{a+b+c}{2}$ the area is $\sqrt{s(s-a)(s-b)(s-c)}$.",
     r"Find the area of the triangle with sides {a}, {b} and {c}, if there is one."),
    ("Derivatives", r"$\frac{d}{dx}x^n=nx^{n-1}$, $(fg)'=f'g+fg'$ and $\frac{d}{dx}\sin x=\cos x$.",
     r"Let $f(x)=x^{a}+{b}x$. Find $f'({c})$."),
    ("Integrals", r"$\int x^n\,dx=\frac{x^{n+1}}{n+1}+C$ for $n\neq-1$, and $\int\frac{dx}{x}=\ln|x|+C$.",
     r"Evaluate $\int_0^{{a}} x^2\,dx$. The antiderivative is $\frac{x^3}{3}$."),
    ("Euler's formula", r"$e^{ix}=\cos x+i\sin x$, hence $e^{i\pi}+1=0$.",
     r"Write $e^{i\pi/{b}}$ in rectangular form."),
    ("Logarithms", r"$\log_b(xy)=\log_b x+\log_b y$ and $\log_b x=\frac{\ln x}{\ln b}$.",
     r"Evaluate $\log_2 {c}$ to three digits. Solve $2^x={c}$ for $x$."),
    ("Exponents", r"$a^m\cdot a^n=a^{m+n}$, $(a^m)^n=a^{mn}$ and $a^0=1$.",
     r"Simplify $({a}x^{a})\cdot({b}x^2)$. Write the result without negative exponents."),
    ("Means", r"For positive numbers $\frac{a+b}{2}\ge\sqrt{ab}$, with equality if and only if $a=b$.",
     r"Let $x$ and $y$ be positive real numbers such that $x+y={c}$. Find the maximum value of $xy$."),
    ("Cauchy and Schwarz", r"$(a^2+b^2+c^2)(x^2+y^2+z^2)\ge(ax+by+cz)^2$ for all real numbers.",
     r"Let $x$, $y$ and $z$ be real numbers such that $x^2+y^2+z^2={c}$. Find the largest value of $x+y+z$."),
    ("Lines", r"The line through $(x_1,y_1)$ and $(x_2,y_2)$ has slope $m=\frac{y_2-y_1}{x_2-x_1}$; $y=mx+b$.",
     r"What is the slope of the line through the points $({a},{b})$ and $({b},{c})$?"),
    ("Distance", r"The distance between two points is $d=\sqrt{(x_2-x_1)^2+(y_2-y_1)^2}$.",
     r"What is the distance between the points $({a},{c})$ and $({b},{a})$? Express your answer in simplest radical form."),
    ("Circles in the plane", r"$(x-h)^2+(y-k)^2=r^2$ is the circle of radius $r$ about $(h,k)$.",
     r"Find the center of the circle with equation $x^2-{a}x+y^2-{b}y={c}$."),
    ("Combinations", r"$\binom{n}{k}=\frac{n!}{k!(n-k)!}$ counts the ways to choose $k$ of $n$.",
     r"In how many ways can {a} people be chosen from a group of {c} people?"),
    ("Permutations", r"There are $n!$ ways to arrange $n$ different objects in a row.",
     r"In how many ways can {a} different books be arranged on a shelf?"),
    ("Probability", r"If all outcomes are equally likely, $P(A)=\frac{|A|}{|\Omega|}$, and $P(A\cup B)=P(A)+P(B)-P(A\cap B)$.",
     r"Two fair six-sided dice are rolled. What is the probability that the sum is {a}?"),
    ("Bayes", r"$P(A\mid B)=\frac{P(B\mid A)P(A)}{P(B)}$.",
     r"A test is right {c} times in 100. What is the probability that a positive result is true?"),
    ("Compound interest", r"After $t$ years a principal $P$ has grown to $A=P\left(1+\frac{r}{n}\right)^{nt}$.",
     r"How much is ${c}00 worth after {a} years at {b}% interest, compounded annually? Round to the nearest cent."),
    ("Speed", r"Distance is speed times time: $d=vt$.",
     r"A train travels {c} miles in {a} hours. What is its average speed, in miles per hour?"),
    ("Percent", r"To find $p$ percent of $x$ compute $\frac{p}{100}\cdot x$.",
     r"What is {b}% of {c}? A shirt costs ${c} and is sold at {b}% off. How much does it cost now?"),
    ("Newton's second law", r"$F=ma$, and with $a=\frac{dv}{dt}$ also $F=\frac{dp}{dt}$.",
     r"A body of {a} kg is pulled with {c} N. What is its acceleration?"),
    ("Energy", r"$E=mc^2$; at low speeds $E=\frac12mv^2$ is what is left of it.",
     r"A ball of mass {a} kg moves at {b} m/s. Find its kinetic energy."),
    ("Complex numbers", r"$|a+bi|=\sqrt{a^2+b^2}$, and $i^2=-1$.",
     r"Compute $|{a}+{b}i|$. Evaluate $({a}+{b}i)({a}-{b}i)$."),
    ("Vieta", r"The roots of $x^2+px+q=0$ have sum $-p$ and product $q$.",
     r"Let $r$ and $s$ be the roots of $x^2-{c}x+{a}=0$. Find $r^2+s^2$."),
    ("Modular arithmetic", r"$a\equiv b\pmod n$ means that $n$ divides $a-b$; by Fermat $a^{p-1}\equiv1\pmod p$.",
     r"What is the remainder when ${a}^{{b}}$ is divided by 7?"),
    ("Primes and divisors", r"If $n=p_1^{a_1}\cdots p_k^{a_k}$, then $n$ has $(a_1+1)\cdots(a_k+1)$ positive divisors.",
     r"How many positive divisors does {c} have? What is the greatest common divisor of {b} and {c}?"),
    ("Matrices", r"$\det\begin{pmatrix}a&b\\c&d\end{pmatrix}=ad-bc$.",
     r"Compute $\begin{pmatrix}{a}&{b}\\{b}&{c}\end{pmatrix}\begin{pmatrix}1\\2\end{pmatrix}$."),
    ("Vectors", r"$\mathbf{a}\cdot\mathbf{b}=|\mathbf{a}||\mathbf{b}|\cos\theta$.",
     r"Find the angle between $\begin{pmatrix}{a}\\{b}\end{pmatrix}$ and $\begin{pmatrix}{b}\\{c}\end{pmatrix}$, in degrees."),
    ("Polar coordinates", r"$x=r\cos\theta$, $y=r\sin\theta$, $r=\sqrt{x^2+y^2}$, with $r>0$ and $0\le\theta<2\pi$.",
     r"Which point of the plane has the polar coordinates $({b},\frac{\pi}{{a}})$? And what are those of $(0,{a})$?"),
    ("Limits", r"$\lim_{x\to0}\frac{\sin x}{x}=1$ and $\lim_{n\to\infty}\left(1+\frac1n\right)^n=e$.",
     r"Find $\lim_{x\to{a}}\frac{x^2-{a}^2}{x-{a}}$."),
    ("Taylor", r"$e^x=\sum_{n=0}^\infty\frac{x^n}{n!}$, $\frac1{1-x}=\sum_{n=0}^\infty x^n$ for $|x|<1$.",
     r"Estimate $e^{0.{a}}$ by the first three terms."),
    ("Polygons", r"The interior angles of a polygon with $n$ sides add up to $180(n-2)$ degrees.",
     r"How many degrees are in each interior angle of a regular polygon of {b} sides?"),
    ("The normal distribution", r"$f(x)=\frac1{\sigma\sqrt{2\pi}}e^{-(x-\mu)^2/2\sigma^2}$.",
     r"With mean {c} and standard deviation {a}, how many values lie within one deviation?"),
    ("Functions and their inverses", r"If $f(g(x))=x$ and $g(f(x))=x$, then $g=f^{-1}$.",
     r"Let $f(x)={a}x+{b}$. Find $f^{-1}({c})$. If $f(x)=2x-3$, what is the value of $x$ with $f(x)={b}$?"),
    ("Absolute values", r"$|x|=x$ for $x\ge0$ and $|x|=-x$ for $x<0$.",
     r"How many integers satisfy $|x-{a}|\le{b}$? Find the sum of all solutions of $|x-{c}|={a}$."),
)  # fmt: skip
OPENINGS = (
    "This chapter is a summary; proofs are in the appendix.",
    "Learn these by heart, and practise until you need not think about them.",
    "We recall what will be needed in the rest of the book.",
    "Below is a list of formulas that students ask for most often.",
    "Notes from the lecture, with one exercise each.",
)
LINKS = (
    "Many exercises ask for nothing else.",
    "Find all values of $x$ that satisfy the equation, and check them.",
    "Express your answer as a common fraction in lowest terms.",
    "Let $x$ be a real number. What is the value of $x$?",
    "It follows from the definition, as the reader may verify.",
    "How many solutions are there? Find the value of each.",
    "Let $a$, $b$ and $c$ be positive integers.",
    "What is the smallest possible value? Round your answer to the nearest tenth.",
)


def pages(count: int) -> list[str]:
    """Pages of three to nine topics each, in an order and with numbers that are drawn; always the same ones."""
    rng = random.Random(7)
    return [_page(rng) for _ in range(count)]


def _page(rng: random.Random) -> str:
    parts = [rng.choice(OPENINGS)]
    for title, statement, exercise in rng.sample(TOPICS, rng.randint(3, 9)):
        numbers = sorted(rng.sample(range(2, 100), 3))
        for name, number in zip("abc", numbers, strict=True):
            exercise = exercise.replace("{" + name + "}", str(number))
        parts += [f"## {title}", statement, f"{exercise} {rng.choice(LINKS)}"]
    return "\n\n".join(parts)
