"""How near a filled clip is to the truth, or how good it is without one: pure functions of arrays, one value a frame or a pair of frames.

Every function says its range, its unit and its source, and those that compare pixels measure a region (`regions.region`) as well as
the whole frame. Which of them, with which settings, reproduce a published table is for the protocols to say.
"""
