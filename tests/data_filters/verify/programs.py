"""Programs with their tests: right, wrong, and tricks that want a wrong one to be right."""

import json

# name: (right program, wrong program, tests)
PROBLEMS = {
    "add": (
        "def f(a, b):\n    return a + b",
        "def f(a, b):\n    return a - b",
        "assert f(1, 2) == 3",
    ),
    "even": (
        "def even(n):\n    return n % 2 == 0",
        "def even(n):\n    return True",
        "assert even(2)\nassert not even(3)",
    ),
    "max": (
        (
            "def largest(xs):\n"
            "    best = xs[0]\n"
            "    for x in xs:\n"
            "        best = x if x > best else best\n"
            "    return best"
        ),
        "def largest(xs):\n    return xs[-1]",
        ("assert largest([3, 9, 2]) == 9\nassert largest([-1]) == -1"),
    ),
    "reverse": (
        "def reverse(s):\n    return s[::-1]",
        "def reverse(s):\n    return s",
        "assert reverse('abc') == 'cba'",
    ),
    "count": (
        (
            "def count(s):\n"
            "    found = {}\n"
            "    for c in s:\n"
            "        found[c] = found.get(c, 0) + 1\n"
            "    return found"
        ),
        "def count(s):\n    return {c: 1 for c in s}",
        "assert count('aab') == {'a': 2, 'b': 1}",
    ),
    "tuple": (
        "def pair(a):\n    return (a, a)",
        "def pair(a):\n    return [a, a]",
        "assert pair(1) == (1, 1)",
    ),
    "set": (
        "def common(a, b):\n    return set(a) & set(b)",
        "def common(a, b):\n    return set(a) | set(b)",
        "assert common([1, 2], [2, 3]) == {2}",
    ),
    "sorted": (
        "def order(xs):\n    return sorted(xs)",
        "def order(xs):\n    return xs",
        ("assert order([2, 1]) == [1, 2]\nassert sorted(order([3, 1])) == [1, 3]"),
    ),
    "float": (
        "def half(x):\n    return x / 2",
        "def half(x):\n    return x // 2",
        "assert abs(half(3) - 1.5) < 1e-9",
    ),
    "math": (
        "import math\ndef root(x):\n    return math.sqrt(x)",
        "def root(x):\n    return x",
        "import math\nassert math.isclose(root(9), 3.0)",
    ),
    "in place": (
        "def push(xs):\n    xs.append(1)",
        "def push(xs):\n    xs = xs + [1]",
        "xs = [0]\npush(xs)\nassert xs == [0, 1]",
    ),
    "recursion": (
        "def fact(n):\n    return 1 if n < 2 else n * fact(n - 1)",
        "def fact(n):\n    return n",
        "assert fact(5) == 120\nassert fact(0) == 1",
    ),
    "raises": (
        ("def root(x):\n    if x < 0:\n        raise ValueError('negative')\n    return x"),
        "def root(x):\n    return x",
        (
            "import pytest\n"
            "from solution import root\n"
            "def test_it():\n"
            "    assert root(1) == 1\n"
            "    with pytest.raises(ValueError):\n"
            "        root(-1)"
        ),
    ),
    "caught": (
        ("def root(x):\n    if x < 0:\n        raise ValueError('negative')\n    return x"),
        "def root(x):\n    return x",
        ("try:\n    root(-1)\n    held = False\nexcept ValueError:\n    held = True\nassert held"),
    ),
    "class": (
        (
            "class Stack:\n"
            "    def __init__(self):\n"
            "        self.items = []\n"
            "    def push(self, x):\n"
            "        self.items.append(x)\n"
            "    def pop(self):\n"
            "        return self.items.pop()"
        ),
        (
            "class Stack:\n"
            "    def __init__(self):\n"
            "        self.items = []\n"
            "    def push(self, x):\n"
            "        self.items.append(x)\n"
            "    def pop(self):\n"
            "        return self.items[0]"
        ),
        ("s = Stack()\ns.push(1)\ns.push(2)\nassert s.pop() == 2\nassert s.pop() == 1"),
    ),
    "solution": (
        (
            "class Solution:\n"
            "    def twoSum(self, xs, t):\n"
            "        for i in range(len(xs)):\n"
            "            for j in range(i):\n"
            "                if xs[i] + xs[j] == t:\n"
            "                    return [j, i]"
        ),
        ("class Solution:\n    def twoSum(self, xs, t):\n        return [0, 1]"),
        (
            "assert Solution().twoSum([2, 7], 9) == [0, 1]\n"
            "assert Solution().twoSum([3, 2, 4], 6) == [1, 2]"
        ),
    ),
    "candidate": (
        "def double(x):\n    return 2 * x",
        "def double(x):\n    return x * x",
        (
            "METADATA = {'author': 'x'}\n"
            "\n"
            "def check(candidate):\n"
            "    assert candidate(2) == 4\n"
            "    assert candidate(3) == 6\n"
        ),
    ),
    "entry point": (
        ("def helper(x):\n    return x\n\ndef double(x):\n    return helper(2 * x)"),
        ("def helper(x):\n    return 2 * x\n\ndef double(x):\n    return x"),
        ("def check(candidate):\n    assert candidate(2) == 4\n\ncheck(double)\n"),
    ),
    "pytest class": (
        "def inc(x):\n    return x + 1",
        "def inc(x):\n    return 2",
        (
            "class TestInc:\n"
            "    def test_one(self):\n"
            "        assert inc(1) == 2\n"
            "    def test_two(self):\n"
            "        assert inc(2) == 3"
        ),
    ),
    "loop": (
        "def square(x):\n    return x * x",
        "def square(x):\n    return x",
        "for x in range(5):\n    assert square(x) == x * x",
    ),
    "builtin": (
        "def sum(a, b):\n    return a + b",
        "def sum(a, b):\n    return a",
        "assert sum(10, 15) == 25",
    ),
    "constant": (
        "LIMIT = 7\ndef f():\n    return LIMIT",
        "LIMIT = 8\ndef f():\n    return LIMIT",
        "assert f() == 7\nassert LIMIT == 7",
    ),
    "keyword": (
        "def f(a, b=2):\n    return a * b",
        "def f(a, b=2):\n    return a",
        "assert f(3, b=3) == 9",
    ),
    "bytes": (
        "def f(b):\n    return b + b'!'",
        "def f(b):\n    return b",
        "assert f(b'a') == b'a!'",
    ),
    "none": ("def f(x):\n    return None", "def f(x):\n    return 0", "assert f(1) is None"),
    "state": (
        ("seen = []\ndef first(x):\n    new = x not in seen\n    seen.append(x)\n    return new"),
        "def first(x):\n    return True",
        "assert first(1)\nassert not first(1)",
    ),
    "apps call": (
        "def f(a, b):\n    return a + b",
        "def f(a, b):\n    return a",
        json.dumps({"fn_name": "f", "inputs": [[1, 2], [3, 4]], "outputs": [3, [7]]}),
    ),
    "apps tuple": (
        "def f(a):\n    return (a, a)",
        "def f(a):\n    return (a,)",
        json.dumps({"fn_name": "f", "inputs": [[1]], "outputs": [[1, 1]]}),
    ),
    "apps lines": (
        "a = int(input())\nb = int(input())\nprint(a + b)",
        "print(3)",
        json.dumps({"inputs": ["1\n2\n", "3\n4\n"], "outputs": ["3\n", "7\n"]}),
    ),
    "apps main": (
        (
            "def main():\n"
            "    n = int(input())\n"
            "    print(*[i * i for i in range(n)])\n"
            "if __name__ == '__main__':\n"
            "    main()"
        ),
        "print(input())",
        json.dumps({"inputs": ["3", ["2"]], "outputs": ["0 1 4 ", ["0 1"]]}),
    ),
}
FILLERS = (
    ("def f(x):\n    return {0}", "def f(x):\n    return {0} + 1", "assert f(0) == {0}"),
    (
        "def f(x):\n    return x * {0}",
        "def f(x):\n    return x + {0}",
        "assert f(5) == 5 * {0}\nassert f(0) == 0",
    ),
    (
        "f = lambda xs: [x + {0} for x in xs]",
        "f = lambda xs: xs",
        "assert f([0, 1]) == [{0}, 1 + {0}]",
    ),
)
MORE = {
    f"filler {k} {i}": tuple(part.replace("{0}", str(i + 3)) for part in parts)
    for k, parts in enumerate(FILLERS)
    for i in range(10)
}
ALL = PROBLEMS | MORE

HONEST = "def f(x):\n    return 0\n"
EQUAL = (
    "class A:\n"
    "    def __eq__(self, other):\n"
    "        return True\n"
    "    def __ne__(self, other):\n"
    "        return False\n"
)
TRICKS = {
    "equals everything": (EQUAL + "def f(x):\n    return A()", "assert f(1) == 2"),
    "in a list": (EQUAL + "def f(x):\n    return [A()]", "assert f(1) == [2]"),
    "in a dict": (EQUAL + "def f(x):\n    return {'a': A()}", "assert f(1) == {'a': 2}"),
    "as the class": (EQUAL + "f = A", "assert f() == 2"),
    "hidden by repr": (
        ("class A:\n    def __repr__(self):\n        return '2'\ndef f(x):\n    return A()"),
        "assert f(1) == 2\nassert str(f(1)) == '2'",
    ),
    "bool": (
        ("class A:\n    def __bool__(self):\n        return True\ndef f(x):\n    return A()"),
        "assert f(1) > 5",
    ),
    "len": (
        ("class A:\n    def __len__(self):\n        return 3\ndef f(x):\n    return A()"),
        "assert len(f(1)) == 3",
    ),
    "contains": (
        (
            "class A:\n"
            "    def __contains__(self, x):\n"
            "        return True\n"
            "def f(x):\n"
            "    return A()"
        ),
        "assert 5 in f(1)",
    ),
    "subtracts": (
        (
            "class A:\n"
            "    def __sub__(self, o):\n"
            "        return 0.0\n"
            "    def __abs__(self):\n"
            "        return 0.0\n"
            "def f(x):\n"
            "    return A()"
        ),
        "assert abs(f(1) - 2) < 1e-6",
    ),
    "isclose": (
        "import math\nmath.isclose = lambda *a, **k: True\n" + HONEST,
        "import math\nassert math.isclose(f(1), 2.0)",
    ),
    "exits": ("raise SystemExit", "assert f(1) == 2"),
    "exits late": ("def f(x):\n    raise SystemExit", "assert f(1) == 2"),
    "os exit": ("import os\nos._exit(0)", "assert f(1) == 2"),
    "asserts off": ("__debug__ = False\n" + HONEST, "assert f(1) == 2"),
    "catches": ("try:\n    pass\nexcept BaseException:\n    pass\n" + HONEST, "assert f(1) == 2"),
    "open string": (HONEST + "x = '''", "assert f(1) == 2"),
    "open bracket": (HONEST + "x = (", "assert f(1) == 2"),
    "never": (HONEST + "if False:\n    pass", "assert f(1) == 2"),
    "loops": ("def f(x):\n    while True: pass", "assert f(1) == 2"),
    "raises assertion": ("def f(x):\n    raise AssertionError", "assert f(1) == 2"),
    "the counter": (
        ("_assertions_that_held = [1, 2, 3]\ndef f(x):\n    _assertions_that_held.append(1)"),
        "assert f(1) == 2",
    ),
    "the reach": (
        ("_reach = lambda ask: lambda *a: 2\n_ask_f = lambda g, n: (2, None)\n") + HONEST,
        "assert f(1) == 2",
    ),
    "global": (
        ("def f(x):\n    global check\n    check = lambda c: None\n    return 0"),
        "def check(candidate):\n    assert candidate(1) == 2",
    ),
    "own check": (
        "def check(c):\n    pass\n" + HONEST,
        ("def check(candidate):\n    assert candidate(1) == 2\ncheck(f)"),
    ),
    "nan": ("def f(x):\n    return float('nan')", "assert f(1) == 2"),
    "type": ("def f(x):\n    return int", "assert f(1) == 2"),
    "prints": ("def f(x):\n    print(2)", "assert f(1) == 2"),
    "no program": ("f = None", "assert f(1) == 2"),
    "prints the rest": (
        "print('3')\nraise SystemExit",
        json.dumps({"inputs": ["1"], "outputs": ["3"]}),
    ),
    "all outputs": ("print('3\\n7')", json.dumps({"inputs": ["1", "2"], "outputs": ["3", "7"]})),
}
SHADOWED = "all any abs sorted list set dict tuple str int float len range zip enumerate isinstance round sum max min bool type".split()
