"""The spanning tree of a transport simplex, in words that a compiler and plain Python both read.

Nodes are the rows 0 … n − 1, the columns n … n + m − 1 and the root n + m. Each node but the root hangs
on its parent by one arc: a row's leads up to the parent, a column's down from it. An arc from a row to
a column is one of the problem; arcs to and from the root are artificial, of number −1, and carry what
has no place yet. Mass is conserved at every node, and arcs without a mass in the tree lead up (the
tree is strongly feasible), so that no sequence of exchanges comes back to where it was.

A level is what the dual is at a node: f at rows, −g at columns, 0 at the root; in the tree
f + g = cost. ``first``, ``following`` and ``previous`` link the children of a node, −1 for none.

Cunningham 1976, Math. Program. 11; Ahuja, Magnanti & Orlin 1993, Network Flows, ch. 11.
"""

from typing import Any

Numbers = Any  # lists in plain Python, arrays where it is compiled


def hung(
    n: int,
    m: int,
    a: Numbers,
    b: Numbers,
    height: float,
    parent: Numbers,
    arc: Numbers,
    mass: Numbers,
    depth: Numbers,
    first: Numbers,
    following: Numbers,
    previous: Numbers,
    level: Numbers,
) -> None:
    """Every node on the root, by an artificial arc of cost ``height`` with the node's own mass."""
    root = n + m
    for node in range(root):
        parent[node], arc[node], depth[node] = root, -1, 1
        first[node], following[node], previous[node] = -1, node + 1, node - 1
        mass[node] = a[node] if node < n else b[node - n]
        level[node] = height if node < n else -height
    following[root - 1] = following[root] = previous[root] = parent[root] = arc[root] = -1
    first[root], depth[root], level[root], mass[root] = 0, 0, 0.0, 0.0


def exchanged(
    n: int,
    tail: int,
    head: int,
    number: int,
    reduced: float,
    parent: Numbers,
    arc: Numbers,
    mass: Numbers,
    depth: Numbers,
    first: Numbers,
    following: Numbers,
    previous: Numbers,
    level: Numbers,
) -> None:
    """Bring the arc ``number`` from row ``tail`` to node ``head`` into the tree, for another one.

    ``reduced`` is its cost less f and g: what a unit of mass gains. Along the cycle that it closes
    masses of arcs against its direction fall; the first to be empty leaves, and of several the last
    along the cycle from its apex, which keeps the tree strongly feasible.
    """
    u, v = tail, head
    least_u = least_v = 1e300
    out_u = out_v = -1
    while u != v:
        deep_u, deep_v = depth[u], depth[v]
        if deep_u >= deep_v:
            if u < n and mass[u] < least_u:
                least_u, out_u = mass[u], u
            u = parent[u]
        if deep_v >= deep_u:
            if v >= n and mass[v] <= least_v:
                least_v, out_v = mass[v], v
            v = parent[v]
    apex = u
    moved = least_v if least_v <= least_u else least_u
    if moved > 0.0:
        node = tail
        while node != apex:
            mass[node] += -moved if node < n else moved
            node = parent[node]
        node = head
        while node != apex:
            mass[node] += -moved if node >= n else moved
            node = parent[node]
    if least_v <= least_u:
        last, node, above, rise = out_v, head, tail, -reduced
    else:
        last, node, above, rise = out_u, tail, head, reduced
    top = node
    carried, held = number, moved
    while True:  # turn the path from the new arc's end to the one that leaves upside down
        old_parent, old_arc, old_mass = parent[node], arc[node], mass[node]
        before, after = previous[node], following[node]
        if before >= 0:
            following[before] = after
        else:
            first[old_parent] = after
        if after >= 0:
            previous[after] = before
        after = first[above]
        parent[node], arc[node], mass[node] = above, carried, held
        following[node], previous[node] = after, -1
        first[above] = node
        if after >= 0:
            previous[after] = node
        if node == last:
            break
        above, carried, held = node, old_arc, old_mass
        node = old_parent
    node = top
    while True:  # what hangs on it has moved as a whole
        depth[node] = depth[parent[node]] + 1
        level[node] += rise
        if first[node] >= 0:
            node = first[node]
            continue
        while node != top and following[node] < 0:
            node = parent[node]
        if node == top:
            break
        node = following[node]


def levelled(
    n: int,
    root: int,
    costs: Numbers,
    height: float,
    parent: Numbers,
    arc: Numbers,
    first: Numbers,
    following: Numbers,
    level: Numbers,
) -> None:
    """Levels afresh from the costs of the tree's arcs: rounding does not add up over exchanges."""
    node = root
    while True:
        if first[node] >= 0:
            node = first[node]
        else:
            while node != root and following[node] < 0:
                node = parent[node]
            if node == root:
                break
            node = following[node]
        cost = height if arc[node] < 0 else costs[arc[node]]
        level[node] = level[parent[node]] + (cost if node < n else -cost)
