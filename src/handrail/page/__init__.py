"""The page of results: GOLD's Table I as it was measured here, beside the paper's.

``measured`` reads what ``handrail table`` wrote, ``paper`` is the published table, ``sections``
are the parts of the page, ``panels`` its figures.
"""
