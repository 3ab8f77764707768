"""The arithmetic of deploy/money.py; that documents have its sums, it says itself."""
import csv, re, unittest
import money
from stack_of import Stack

TEMPLATE = money.ROOT / "template.yaml"


class Prices(unittest.TestCase):
    def test_a_price_has_steps(self):
        self.assertAlmostEqual(money.usd("api_request", 1e6), 3.50)
        self.assertAlmostEqual(money.usd("api_request", 333e6), 333 * 3.50)
        self.assertAlmostEqual(money.usd("api_request", 1001e6), 333 * 3.50 + 667 * 2.80 + 2.38)
        self.assertAlmostEqual(money.usd("api_request", 21000e6), 333 * 3.50 + 667 * 2.80 + 19000 * 2.38 + 1000 * 1.51)

    def test_what_is_free_for_ever_is_taken_off_where_it_is_asked_for(self):
        self.assertAlmostEqual(money.usd("alarm_month", 24, free=True), 1.40)
        self.assertAlmostEqual(money.usd("alarm_month", 24), 2.40)
        self.assertEqual(money.usd("dashboard_month", 1, free=True), 0)


class Mix(unittest.TestCase):
    def test_every_action_of_the_load_has_its_calls_and_every_call_its_units(self):
        self.assertEqual(set(money.mix()), set(money.CALLS))
        self.assertEqual(sum(money.mix().values()), 1000)
        named = {name for calls in money.CALLS.values() for name in calls}
        named |= {f"{name}, hit" for name in money.HIT} | set(money.JOBS.values())
        self.assertEqual(named - set(money.units()), set())

    def test_it_is_what_a_run_counted(self):
        """`just before-after`: 1.61 database calls a request with the cache, 2.10 without (docs/scale.md)."""
        self.assertAlmostEqual(money.request(True)["calls"], 1.61, delta=0.05)
        self.assertAlmostEqual(money.request(False)["calls"], 2.10, delta=0.05)


class Sums(unittest.TestCase):
    def test_what_the_template_has_is_in_the_month(self):
        dev, prod = (Stack(TEMPLATE, given) for given in ({}, {"CacheUrl": "serverless:", "AnalysisProvider": "anthropic"}))
        of = lambda stack, word: [one for part in money.rest(stack) for one in part if word in one[0]]
        self.assertEqual(of(dev, "secret") + of(dev, "the cache"), [])
        self.assertAlmostEqual(of(prod, "secret")[0][2], 0.40)
        self.assertAlmostEqual(of(prod, "the cache")[0][2], 0.1 * 730 * 0.084)
        self.assertGreater(of(prod, "metrics of ours")[0][2], of(dev, "metrics of ours")[0][2])
        # Without a shared cache: all that is written, but for what the cache's parts write.
        rows = csv.DictReader((money.ROOT / "deploy/metrics.csv").read_text().splitlines())
        ours = [one for one in rows if one["namespace"].startswith("CitizenApp/") and one["namespace"] != "CitizenApp/Cache"]
        self.assertIn("CitizenApp/AccountMail", {one["namespace"] for one in ours})
        written = sum(money.CLASSES if "Class" in by else 1 for one in ours for by in one["dimensions"].split(";"))
        self.assertTrue(of(dev, "metrics of ours")[0][0].startswith(f"{written} "), of(dev, "metrics of ours"))
        (polling,) = of(dev, "polling")
        mappings = [one for one in dev.of("AWS::Lambda::EventSourceMapping").values() if "Queue" in str(one["Properties"]["EventSourceArn"])]
        self.assertTrue(polling[0].startswith(f"polling {len(mappings)} queue"), polling)

    def test_a_cached_page_takes_a_unit_for_each_kilobyte(self):
        (units,) = [float(how.split()[0]) for what, how, _ in money.million(Stack(TEMPLATE, {"CacheUrl": "serverless:"}), True) if what == "cache"]
        of_pages = money.mix()["ListItems"] * money.PAGE_KB / sum(len(money.CALLS[action]) * times for action, times in money.mix().items())
        self.assertGreater(units, of_pages)
        self.assertLess(units, 2 * of_pages, "what else looks up moves a kilobyte")
        self.assertEqual(set(money.HIT) - set(money.CACHE_UNITS), set())

    def test_the_worst_day_is_less_with_a_lower_limit_and_has_every_method(self):
        of = lambda limit: money.worst_day(Stack(TEMPLATE, {"RequestsPerSecond": limit}))
        default, second, lines, _ = of("100")
        self.assertEqual(default, 100)
        (api,) = Stack(TEMPLATE, {}).of("AWS::ApiGateway::RestApi").values()
        methods = sum(len(one) for one in api["Properties"]["Body"]["paths"].values())
        self.assertLessEqual(second, methods * 100)
        self.assertGreater(second, methods * 10)
        total = lambda day: sum(one[2] for one in day[2])
        # A caller's header asks for the trace of each of its calls.
        of_lambda, traces = (next(one for one in lines if one[0] == what) for what in ("Lambda", "traces"))
        self.assertAlmostEqual(traces[2], money.usd("trace", float(of_lambda[1].split()[0]) * 1e6), delta=5)
        self.assertLess(total(of("50")), total(of("100")))
        self.assertLess(total(of("100")), total(of("1000")))

    def test_the_dearest_calls_count_and_the_table_bounds_them(self):
        """A batch of the largest items takes a thousand times as much as one small item."""
        def written(requests, units):
            *_, lines, left = money.worst_day(Stack(TEMPLATE, {"RequestsPerSecond": requests, "TableUnitsPerSecond": units}))
            (line,) = (how for what, how, _ in lines if what == "DynamoDB")
            return [float(number.replace(",", "")) for number in re.findall(r"([\d,]+) M (?:read|write)", line)], left

        batches = money.WRITE_UNITS["create-item"] * 10 * money.DAY / 1e6
        (_, writes), _ = written("10", "400000")
        self.assertGreater(writes, batches)
        self.assertLess(writes, batches * 1.2, "all else is small")
        for requests in ("10", "1000"):
            (reads, writes), left = written(requests, "5000")
            self.assertEqual((reads, writes), (432, 432))
            self.assertAlmostEqual(left, 432e6 * 1024 / 1e9, msg="a kilobyte of each unit stays")


if __name__ == "__main__":
    unittest.main()
