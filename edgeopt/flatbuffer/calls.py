"""Which subgraphs an operator runs, and the order in which to sum over them."""

from __future__ import annotations

from .model import Model, Operator, Subgraph


def callees(operator: Operator) -> tuple[int, ...]:
    """Return the indices of the subgraphs that `operator` runs at every invocation (WHILE, IF, CALL, ...).

    CALL_ONCE is left out: it initialises variables before the first invocation.
    """
    if operator.name == "CALL_ONCE":
        return ()
    found: list[int] = []
    for name, value in operator.options.items():
        if name == "subgraph" or name.endswith("_subgraph_index"):
            found += [value] if isinstance(value, int) else []
        elif name == "branch_subgraph_indices" and isinstance(value, tuple):
            found += value
    return tuple(found)


def called_first(model: Model) -> list[Subgraph]:
    """Return the subgraphs that an invocation of the main one can reach, each after all that it calls.

    A subgraph that (against the format's rules) calls itself, directly or not, appears once.
    """
    order: list[Subgraph] = []
    seen = {0}
    stack = [(model.main, iter(_callees_of(model, model.main)))]
    while stack:
        graph, pending = stack[-1]
        following = next((index for index in pending if index not in seen), None)
        if following is None:
            order.append(graph)
            stack.pop()
        else:
            seen.add(following)
            callee = model.subgraphs[following]
            stack.append((callee, iter(_callees_of(model, callee))))
    return order


def _callees_of(model: Model, graph: Subgraph) -> list[int]:
    found = {index for operator in graph.operators for index in callees(operator)}
    return sorted(index for index in found if 0 <= index < len(model.subgraphs))
