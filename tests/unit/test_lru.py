"""What is kept is what was used last, and never more than the bound."""

from __future__ import annotations

from collections import OrderedDict

from hypothesis import given
from hypothesis import strategies as st

from serve_app.engines.lru import ByteLru

BOUND = 10
STEPS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 12) | st.none()), max_size=60)


@given(STEPS)
def test_it_keeps_what_a_plain_model_keeps(steps: list[tuple[int, int | None]]) -> None:
    """Each step gets a key, or puts a value of so many bytes under it."""
    lru: ByteLru[int, int] = ByteLru(BOUND, lambda value: value)
    model: OrderedDict[int, int] = OrderedDict()
    for key, size in steps:
        if size is None:
            assert lru.get(key) == model.get(key)
            if key in model:
                model.move_to_end(key)
        else:
            assert lru.put(key, size) == size
            model.pop(key, None)
            model[key] = size
            while sum(model.values()) > BOUND:
                model.popitem(last=False)
        assert lru.held_bytes == sum(model.values()) <= BOUND
    for key, size in list(model.items()):
        assert lru.get(key) == size
    lru.clear()
    assert lru.held_bytes == 0
    assert all(lru.get(key) is None for key in model)
