"""The budgets of the code itself: modules at most 300 lines, functions at most 40, the pipeline page at most 80."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("detectors", "connectors", "streams", "cases", "console", "offsite")
MODULE, FUNCTION, PAGE = 300, 40, 80


def faults() -> list[str]:
    """List everything over its budget."""
    found = []
    for path in sorted(p for folder in FOLDERS for p in (ROOT / folder).rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        lines = source.count("\n")
        name = path.relative_to(ROOT)
        allowed = PAGE if name == Path("streams/pipeline.py") else MODULE
        if lines > allowed:
            found.append(f"{name}: {lines} lines; the budget is {allowed}")
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
                length = node.end_lineno - node.lineno + 1
                if length > FUNCTION:
                    found.append(f"{name}:{node.lineno} {node.name}: {length} lines; the budget is {FUNCTION}")
    return found


if __name__ == "__main__":
    problems = faults()
    print("\n".join(problems) or "budgets: all modules and functions within bounds")
    sys.exit(1 if problems else 0)
