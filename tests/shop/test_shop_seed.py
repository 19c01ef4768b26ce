"""The seed of the shop."""


def test_the_seed_refuses_a_filled_shop(shop_database, run_shop):
    """A second seed ends with a reason and changes nothing."""
    done = run_shop(shop_database, "shop.seed")
    assert done.returncode == 1
    assert done.stderr == "refused: expected empty tables, found rows in customers; nothing was changed\n"


def test_the_seed_refuses_another_revision(empty_database, run_shop):
    """A schema at another revision ends the seed with a reason."""
    done = run_shop(empty_database, "shop.seed")
    assert done.returncode == 1
    assert done.stderr == "refused: expected the schema at 0007, found None; nothing was changed\n"
