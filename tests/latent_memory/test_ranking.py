from latent_memory.ranking import fuse


def test_what_both_orders_hold_goes_before_what_one_holds_first() -> None:
    assert fuse([["a", "b", "c"], ["d", "b", "a"]]) == ["a", "b", "d", "c"]  # 1/61+1/63 > 2/62 > 1/61 > 1/63


def test_equal_sums_keep_the_first_order() -> None:
    assert fuse([["a", "b"], ["b", "a"]]) == ["a", "b"]
    assert fuse([["a"], ["b"]]) == ["a", "b"]
    assert fuse([[], []]) == []
