import unittest
from report import held


class Held(unittest.TestCase):
    FIGURES = {"get-user, hit": {"beside the yardstick": 0.71, "zip, MB": 3.6, "peak RSS, MB": 9}, "get-user, miss": {"beside the yardstick": 0.70}}

    def test_with_a_ratio_that_alone_is_judged(self):
        self.assertEqual(held(self.FIGURES, 0.70)[1], ["hit, by turns with the yardstick: median of the blocks"])
        self.assertEqual(held(self.FIGURES, 0.72)[1], [])

    def test_without_one_what_it_weighs_is_judged(self):
        table, over = held(self.FIGURES)
        self.assertEqual(over, ["zip"])
        self.assertIn("| zip | 3.6 MB | 3.5 MB | over |", table)


if __name__ == "__main__":
    unittest.main()
