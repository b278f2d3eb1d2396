"""Pages of results: a paper's table as it was measured here, beside what is published.

``measured`` reads what ``handrail table`` wrote, ``papers`` is what the pages differ in, ``paper``
the published figures. The parts of a page are functions of its ``sources``; ``sections`` has those
that all pages share, and writes them. ``panels``, ``step_panels`` and ``rank_panels`` are figures.
"""
