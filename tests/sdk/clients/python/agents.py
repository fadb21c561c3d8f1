"""smolagents' executor for E2B, with a model that says what it was told to say."""

from common import TEMPLATE, Skip, check, main
from e2b_code_interpreter import Sandbox
from smolagents import CodeAgent, ChatMessage, Model, tool


class Scripted(Model):
    """A model without a network: its answers are given."""

    def __init__(self, answers):
        super().__init__(model_id="scripted")
        self.answers, self.heard = list(answers), []

    def generate(self, messages, **_):
        self.heard.append(messages)
        return ChatMessage(role="assistant", content=self.answers.pop(0))


@tool
def double(number: int) -> int:
    """Doubles a number.

    Args:
        number: The number.
    """
    return 2 * number


def say(code):
    return f"Thought: next.\n<code>\n{code}\n</code>"


@check
def smolagents():
    probe = Sandbox.create(template=TEMPLATE, timeout=60)
    found = probe.commands.run("python3 -c 'import ipykernel' 2>/dev/null && echo yes || echo no").stdout
    probe.kill()
    if found != "yes\n":
        raise Skip("the sandbox's Python has no ipykernel")
    model = Scripted([say("n = double(20)\nprint('now', n)"), say("final_answer(n + 2)")])
    agent = CodeAgent(
        tools=[double], model=model, executor_type="e2b", executor_kwargs={"template": TEMPLATE, "timeout": 300}, verbosity_level=0
    )
    try:
        assert agent.run("Double twenty and add two.") == 42
    finally:
        agent.cleanup()
    assert "now 40" in str(model.heard[-1]), model.heard[-1]


main("python/agents")
