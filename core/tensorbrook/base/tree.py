"""Flatten nested dicts, lists and tuples to a list of leaves, and back."""


def flatten(tree):
    """(leaves, structure) of `tree`; dicts are walked in the order of their sorted keys."""
    leaves: list = []
    return leaves, _walk(tree, leaves)


def _walk(tree, leaves):
    if isinstance(tree, dict):
        keys = tuple(sorted(tree))
        return (type(tree), keys, tuple(_walk(tree[k], leaves) for k in keys))
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return (type(tree), tree._fields, tuple(_walk(x, leaves) for x in tree))
    if isinstance(tree, (list, tuple)):
        return (type(tree), None, tuple(_walk(x, leaves) for x in tree))
    leaves.append(tree)
    return None


def unflatten(structure, leaves):
    """The tree of that structure with those leaves."""
    return _build(structure, iter(leaves))


# A function of its own: one that closed over itself would be a cycle, which keeps the leaves, and
# so the tensors' memory, until Python next looks for cycles.
def _build(structure, leaves):
    if structure is None:
        return next(leaves)
    kind, keys, children = structure
    built = [_build(child, leaves) for child in children]
    if keys is None:
        return kind(built)
    return kind(**dict(zip(keys, built))) if hasattr(kind, "_fields") else kind(zip(keys, built))


def tree_map(f, tree, *rest):
    """`f` applied to the leaves of trees of one structure."""
    leaves, structure = flatten(tree)
    return unflatten(structure, [f(*xs) for xs in zip(leaves, *(flatten(r)[0] for r in rest))])
