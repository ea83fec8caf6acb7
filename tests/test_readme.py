"""What README shows is what runs."""

import re

README = "README.md"


def blocks(root, language):
    return re.findall(rf"```{language}\n(.*?)```", (root / README).read_text(), re.DOTALL)


def test_ci_calls_readmes_command_for_the_tests(root):
    commands = [command.strip() for command in blocks(root, "sh")]
    assert len(commands) == 2
    assert commands[1] in (root / ".ci/run").read_text()
    assert commands[0] in (root / ".ci/run").read_text()  # with a folder of its own for the run


def test_readmes_python_runs_from_top_to_bottom(root, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in blocks(root, "python"):
        exec(compile(block, README, "exec"), names)
    assert float(re.search(r"'accuracy': ([0-9.]+)", capsys.readouterr().out)[1]) > 0.93
    assert (tmp_path / "digits.safetensors").exists()
