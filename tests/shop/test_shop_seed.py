"""The seed of the shop."""


def test_the_seed_refuses_a_filled_shop(shop_database, run_shop):
    """A second seed exits with a reason and changes nothing."""
    result = run_shop(shop_database, "shop.seed")
    assert result.returncode == 1
    assert result.stderr == "refused: expected empty tables, found rows in customers; nothing was changed\n"


def test_the_seed_refuses_another_revision(empty_database, run_shop):
    """The seed exits with a reason if the schema is at another revision."""
    result = run_shop(empty_database, "shop.seed")
    assert result.returncode == 1
    assert result.stderr == "refused: expected the schema at 0007, found None; nothing was changed\n"
