"""Nested structures: flatten dicts, lists and tuples to a list of leaves, and back."""
from .value_keys import value_key


def flatten(tree):
    """(leaves, structure) of `tree`; dicts are traversed in sorted key order. Structures are equal
    if the types are, and the keys of dicts are the same values (see value_keys.py)."""
    leaves: list = []
    return leaves, _walk(tree, leaves)


def _walk(tree, leaves):
    if isinstance(tree, dict):
        keys = tuple(sorted(tree))
        return type(tree), keys, tuple(_walk(tree[k], leaves) for k in keys), value_key(keys)
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return (type(tree), tree._fields, tuple(_walk(x, leaves) for x in tree))
    if isinstance(tree, (list, tuple)):
        return (type(tree), None, tuple(_walk(x, leaves) for x in tree))
    leaves.append(tree)
    return None


def unflatten(structure, leaves):
    """Rebuild the tree of `structure` from `leaves`."""
    return _build(structure, iter(leaves))


# Not a closure: a recursive closure is a reference cycle, which would keep the leaves, and the
# memory of their tensors, until the next garbage collection.
def _build(structure, leaves):
    if structure is None:
        return next(leaves)
    kind, keys, children, *_ = structure
    items = [_build(child, leaves) for child in children]
    if keys is None:
        return kind(items)
    return kind(**dict(zip(keys, items))) if hasattr(kind, "_fields") else kind(zip(keys, items))


def tree_map(f, tree, *others):
    """Apply `f` to the corresponding leaves of trees of the same structure."""
    leaves, structure = flatten(tree)
    return unflatten(structure, [f(*xs) for xs in zip(leaves, *(flatten(t)[0] for t in others))])
