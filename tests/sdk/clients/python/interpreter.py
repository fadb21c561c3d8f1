"""The code interpreter: cells with state, results of all kinds, contexts, languages."""

import base64
import threading
import time

from common import TEMPLATE, Skip, check, main, raises
from e2b_code_interpreter import Sandbox

sandbox = Sandbox.create(template=TEMPLATE, timeout=600)


def has(module):
    """Whether the sandbox's Python has it: what cannot be there is skipped, and said."""
    if sandbox.commands.run(f"python3 -c 'import {module}' 2>/dev/null && echo yes || echo no").stdout != "yes\n":
        raise Skip(f"the sandbox's Python has no {module}")


@check
def state_across_cells():
    has("ipykernel")
    assert sandbox.run_code("x = 41").error is None
    execution = sandbox.run_code("x += 1\nx")
    assert execution.text == "42", execution
    assert execution.execution_count and execution.results[0].is_main_result


@check
def output_as_it_comes():
    has("ipykernel")
    seen, results, errors = [], [], []
    execution = sandbox.run_code(
        "import sys, time\nfor n in range(3):\n    print(n, flush=True)\n    time.sleep(0.3)\nprint('e', file=sys.stderr)\n'last'",
        on_stdout=lambda m: seen.append((time.monotonic(), m.line)),
        on_stderr=lambda m: errors.append(m.line),
        on_result=results.append,
    )
    assert "".join(line for _, line in seen) == "0\n1\n2\n", seen
    assert seen[-1][0] - seen[0][0] > 0.4, "all came at once"
    assert "".join(errors) == "e\n" and execution.text == "'last'" and len(results) == 1


@check
def errors_with_traceback():
    has("ipykernel")
    told = []
    execution = sandbox.run_code("def f():\n    return 1 / 0\nf()", on_error=told.append)
    assert execution.error.name == "ZeroDivisionError" and "division by zero" in execution.error.value
    assert "f()" in execution.error.traceback and len(told) == 1
    assert sandbox.run_code("1 +").error.name == "SyntaxError"
    assert sandbox.run_code("'after'").text == "'after'"


@check
def a_picture():
    has("ipykernel")
    has("matplotlib")
    execution = sandbox.run_code("import matplotlib.pyplot as plt\nplt.plot([1, 2, 3], [1, 4, 9])\nplt.title('squares')\nplt.show()")
    assert execution.error is None, execution.error
    pictures = [r.png for r in execution.results if r.png]
    assert pictures and base64.b64decode(pictures[0]).startswith(b"\x89PNG\r\n\x1a\n"), execution


@check
def charts():
    has("ipykernel")
    has("matplotlib")
    execution = sandbox.run_code("plt.figure()\nplt.bar(['a', 'b'], [3, 5])\nplt.title('bars')\nplt.show()")
    charts = [r.chart for r in execution.results if r.chart]
    assert charts and charts[0].type.value == "bar" and charts[0].title == "bars", execution.results
    assert [(e.label, float(e.value)) for e in charts[0].elements] == [("a", 3.0), ("b", 5.0)], charts[0].elements


@check
def a_table():
    has("ipykernel")
    has("pandas")
    execution = sandbox.run_code("import pandas as pd\npd.DataFrame({'name': ['x', 'y'], 'n': [1, 2]})")
    result = execution.results[0]
    assert "<table" in result.html and "<td>x</td>" in result.html, result
    assert result.data, "no data of the table"


@check
def results_of_other_kinds():
    has("ipykernel")
    html = sandbox.run_code("from IPython.display import HTML, JSON, Markdown, display\ndisplay(HTML('<b>b</b>'))\nJSON({'a': 1})")
    assert [r.html for r in html.results if r.html] == ["<b>b</b>"], html.results
    assert [r.json for r in html.results if r.json] == [{"a": 1}], html.results
    assert sandbox.run_code("Markdown('*m*')").results[0].markdown == "*m*"


@check
def contexts():
    has("ipykernel")
    one = sandbox.create_code_context(cwd="/tmp")
    two = sandbox.create_code_context()
    sandbox.run_code("y = 'one'", context=one)
    assert sandbox.run_code("y", context=one).text == "'one'"
    assert sandbox.run_code("y", context=two).error.name == "NameError"
    assert sandbox.run_code("import os; os.getcwd()", context=one).text == "'/tmp'"
    assert {one.id, two.id} <= {c.id for c in sandbox.list_code_contexts()}
    sandbox.restart_code_context(one)
    assert sandbox.run_code("y", context=one).error.name == "NameError"
    sandbox.remove_code_context(two)
    assert two.id not in {c.id for c in sandbox.list_code_contexts()}
    raises(Exception, sandbox.run_code, "1", context=two)


@check
def variables_of_a_cell():
    has("ipykernel")
    execution = sandbox.run_code("import os; os.environ['OF_CELL']", envs={"OF_CELL": "given"})
    assert execution.text == "'given'", execution
    assert sandbox.run_code("os.environ.get('OF_CELL')").text in (None, "None")


@check
def a_cell_that_takes_too_long():
    has("ipykernel")
    begun = time.monotonic()
    raises(Exception, sandbox.run_code, "import time; time.sleep(60)", timeout=2)
    assert time.monotonic() - begun < 20
    assert sandbox.run_code("'goes on'", timeout=30).text == "'goes on'"


@check
def bash():
    execution = sandbox.run_code("echo from bash; echo $((6 * 7))", language="bash")
    assert execution.error is None and "".join(execution.logs.stdout) == "from bash\n42\n", execution


@check
def javascript():
    if sandbox.commands.run("command -v node >/dev/null && echo yes || echo no").stdout != "yes\n":
        raise Skip("the sandbox has no node")
    assert sandbox.run_code("let z = [1, 2, 3].map(n => n * n); console.log('hi'); z.length", language="js").text == "3"
    assert sandbox.run_code("z[2]", language="javascript").text == "9"
    assert sandbox.run_code("null.x", language="js").error.name == "TypeError"


@check
def other_languages_are_refused():
    raises(Exception, sandbox.run_code, "1", language="cobol")


@check
def many_at_once_are_started_once():
    has("ipykernel")
    fresh = Sandbox.create(template=TEMPLATE, timeout=120)
    texts = []
    threads = [threading.Thread(target=lambda n=n: texts.append(fresh.run_code(f"{n} * 2").text)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(texts, key=int) == ["0", "2", "4", "6", "8", "10"], texts
    fresh.kill()


@check
def files_and_commands_beside():
    has("ipykernel")
    sandbox.files.write("beside.txt", "seen")
    assert sandbox.run_code("open('beside.txt').read()").text == "'seen'"
    assert not [p for p in sandbox.commands.list() if "interpret" in " ".join(p.args)]


@check
def the_end():
    assert sandbox.kill() is True


main("python/interpreter")
