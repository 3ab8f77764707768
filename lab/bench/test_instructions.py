"""The comparison of instruction counts: what trips the gate, and what cannot. `python3 -m unittest` in this folder."""
import math, unittest
from instructions import LONG, SHORT, beside, judge, lowest, ours, renewed


class Gate(unittest.TestCase):
    BASELINE = {"hit": 100_000, "miss": 600_000}

    def over(self, **counts):
        return judge(counts, self.BASELINE)[1]

    def test_three_percent_pass_and_one_instruction_more_fails(self):
        self.assertEqual(self.over(hit=103_000, miss=618_000), [])
        self.assertEqual(self.over(hit=103_001, miss=618_000), ["hit"])
        self.assertEqual(self.over(hit=150_000, miss=700_000), ["hit", "miss"])

    def test_fewer_instructions_pass_and_ask_for_a_new_baseline(self):
        lines, over = judge({"hit": 90_000}, self.BASELINE)
        self.assertEqual(over, [])
        self.assertIn("renew", lines[0])

    def test_what_has_no_baseline_or_no_count_fails(self):
        self.assertEqual(self.over(create=1), ["create"])
        self.assertEqual(self.over(hit=math.inf), ["hit"])

    def test_the_lowest_total_of_each_length_counts(self):
        quiet, disturbed_short, disturbed_long = ({SHORT: 10_000 + short, LONG: 10_000 + long + 1_000 * (LONG - SHORT)}
                                                  for short, long in ((0, 0), (70_000, 0), (0, 90_000)))
        # A disturbed short run alone would hide instructions, a disturbed long one invent some.
        self.assertEqual(lowest([{"hit": disturbed_long}, {"hit": disturbed_short}]), lowest([{"hit": quiet}]))
        self.assertEqual(lowest([{"hit": quiet}]), {"hit": 1_000})

    def test_a_run_that_failed_is_made_good_by_one_that_did_not(self):
        failed = {SHORT: math.inf, LONG: 0}
        self.assertEqual(lowest([{"hit": failed}]), {"hit": math.inf})
        self.assertEqual(lowest([{"hit": failed}, {"hit": {SHORT: 0, LONG: LONG - SHORT}}])["hit"], 0)
        self.assertEqual(lowest([{"cold start": {1: 5}}, {"cold start": {1: 4}}]), {"cold start": 4})

    def test_what_is_by_hand_is_compared_with_and_has_no_baseline(self):
        counts = {"get-user, hit": 70, "by hand, hit": 100, "get-user, miss": 701, "by hand, miss": 1_000, "list-items": 5}
        self.assertEqual([line.split()[2] for line in beside(counts)], ["0.700", "0.701"])
        self.assertEqual([line.split()[1] for line in beside(counts | {"by hand, hit": math.inf})], ["miss"])
        self.assertEqual(ours(counts), {"get-user, hit": 70, "get-user, miss": 701, "list-items": 5})


class Renewal(unittest.TestCase):
    BASELINE = {"made_with": {}, "counts": {"hit": 100, "miss": 600}, "raised": []}

    def test_a_rise_needs_a_reason_and_keeps_it(self):
        with self.assertRaises(ValueError):
            renewed(self.BASELINE, {"hit": 101, "miss": 500}, {}, None)
        new = renewed(self.BASELINE, {"hit": 101, "miss": 500}, {}, "counts calls")
        self.assertEqual(new["counts"], {"hit": 101, "miss": 500})
        self.assertEqual(new["raised"], [{"reason": "counts calls", "counts": {"hit": [100, 101]}}])

    def test_falling_and_new_counts_need_none(self):
        self.assertEqual(renewed(self.BASELINE, {"hit": 99, "miss": 600, "create": 7}, {}, None)["raised"], [])


if __name__ == "__main__":
    unittest.main()
