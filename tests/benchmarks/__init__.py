"""What the program costs beside what its users would have otherwise.

``python -m tests.benchmarks`` makes its own data and databases, measures whole processes from
outside, and prints one table with ratios. Not collected as tests. ``peers`` holds the programs
that it is measured against; none of them is a dependency of the program.
"""
