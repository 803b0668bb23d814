"""Rules for the tests themselves. Speed is measured in a benchmark: a test that times something fails on a busy machine."""

import ast

from sources import ROOT, called, python_files, shown, tree

FOLDERS = [ROOT / "tests" / name for name in ("architecture", "contract", "e2e", "faults", "integration", "regression", "unit")]
CLOCKS = ("monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "process_time", "thread_time", "time")


def times_something(node: ast.Assert) -> bool:
    """Whether a difference to now is compared. `assert monotonic() < deadline`, in a loop that waits, is none."""
    return any(
        isinstance(call, ast.Call) and called(call).split(".")[-1] in CLOCKS
        for minus in ast.walk(node.test)
        if isinstance(minus, ast.BinOp) and isinstance(minus.op, ast.Sub)
        for call in ast.walk(minus)
    )


def test_no_test_is_about_speed() -> None:
    """What is promised (a take-over within 15 s) is a deadline of a wait, or measured by the timestamps of what happened."""
    found = [
        shown(path, node)
        for path in python_files(*FOLDERS)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Assert) and times_something(node)
    ]
    assert found == []


def test_a_timed_test_is_found() -> None:
    def assertion(text: str) -> ast.Assert:
        node = ast.parse(text).body[0]
        assert isinstance(node, ast.Assert)
        return node

    assert times_something(assertion("assert 3000 / (time.process_time() - started) > 1000"))
    assert times_something(assertion("assert 0.6 < time.monotonic() - started < 2"))
    assert not times_something(assertion("assert time.monotonic() < deadline"))
