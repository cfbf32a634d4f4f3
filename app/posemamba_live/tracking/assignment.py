"""The assignment of least total cost, for the few people of a picture.

SciPy has it too; loading the part of SciPy that does costs more than half a second.
"""

from __future__ import annotations

from collections.abc import Sequence

INFINITE = float("inf")


def least_cost(costs: Sequence[Sequence[float]]) -> list[int]:
    """Give each row a column of its own so that the sum of costs is least.

    The Hungarian method by shortest augmenting paths: rows * rows * columns steps.

    Args:
        costs: (rows, columns), finite, at least as many columns as rows.

    Returns:
        The column of each row.
    """
    rows, columns = len(costs), len(costs[0]) if costs else 0
    row_price, column_price = [0.0] * rows, [0.0] * columns
    owner = [-1] * columns
    """The row of each column."""
    for new in range(rows):
        # From the new row over columns and their owners to a column that nobody has.
        shortest, before = [INFINITE] * columns, [-1] * columns
        settled = [False] * columns
        row, last, length = new, -1, 0.0
        while True:
            nearest, least = -1, INFINITE
            for column in range(columns):
                if settled[column]:
                    continue
                reached = length + costs[row][column] - row_price[row] - column_price[column]
                if reached < shortest[column]:
                    shortest[column], before[column] = reached, last
                if shortest[column] < least:
                    nearest, least = column, shortest[column]
            length, last = least, nearest
            if owner[last] < 0:
                break
            settled[last] = True
            row = owner[last]
        row_price[new] += length
        for column in range(columns):
            if settled[column]:
                row_price[owner[column]] += length - shortest[column]
                column_price[column] -= length - shortest[column]
        while last >= 0:
            previous = before[last]
            owner[last] = new if previous < 0 else owner[previous]
            last = previous
    chosen = [0] * rows
    for column, row in enumerate(owner):
        if row >= 0:
            chosen[row] = column
    return chosen
