"""Groups that move columns, as lists of functions of a row."""

from itertools import permutations, product


def elements(kind, columns):
    """All images of a row, as functions; ``columns`` are those that move."""

    def placed(row, values):
        made = list(row)
        for c, value in zip(columns, values, strict=True):
            made[c] = value
        return made

    def of(values):
        return lambda row: placed(row, values([row[c] for c in columns]))

    k = len(columns)
    if kind == "perm":
        return [of(lambda v, o=o: [v[i] for i in o]) for o in permutations(range(k))]
    if kind == "flip":
        signs = product((1, -1), repeat=k)
        return [of(lambda v, s=s: [t * u for t, u in zip(s, v, strict=True)]) for s in signs]
    if kind == "cyclic":
        return [of(lambda v, s=s: v[s:] + v[:s]) for s in range(k)]
    turns = [
        lambda v: v,
        lambda v: [-v[1], v[0]],
        lambda v: [-v[0], -v[1]],
        lambda v: [v[1], -v[0]],
    ]
    return [of(turn) for turn in turns]


def averaged(k, kind, columns):
    """The kernel averaged over the group: the mean of k(x, g·y)."""
    group = elements(kind, columns)
    return lambda x, y: sum(k(x, g(y)) for g in group) / len(group)


def quotient(distance, kind, columns):
    """The shortest distance of two orbits."""
    group = elements(kind, columns)
    return lambda x, y: min(distance(x, g(y)) for g in group)
