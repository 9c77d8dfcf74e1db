"""Distribution of scheduling units over parallel workers: a plugin of pytest-xdist."""
from functools import cached_property

from xdist.scheduler import LoadScopeScheduling

from units import drives_page, unit_of


def pytest_xdist_make_scheduler(config, log):
    if config.getvalue("dist") == "load":
        config.option.loadscopereorder = False
        return UnitScheduling(config, log)


class UnitScheduling(LoadScopeScheduling):
    """Hands whole units to the workers in the order collected; one worker prefers page units.

    That worker alone starts browsers, and waits for them while the others compute. Unlike the base
    class, this one keeps only unfinished tests in `assigned_work`, and does not repeat a test that
    ended its worker.
    """

    def _split_scope(self, nodeid):
        return unit_of(nodeid)

    def _assign_work_unit(self, node):
        prefers_page = node.gateway.id == "gw0"
        preferred = (unit for unit in self.workqueue if drives_page(unit) == prefers_page)
        unit = next(preferred, next(iter(self.workqueue)))
        tests = self.assigned_work[node][unit] = self.workqueue.pop(unit)
        node.send_runtest_some([self._indices[nodeid] for nodeid in tests])

    @cached_property
    def _indices(self) -> dict[str, int]:
        """Positions in the collection, which is the same in every worker."""
        return {nodeid: i for i, nodeid in enumerate(self.collection)}

    def mark_test_complete(self, node, item_index, duration=0):
        nodeid = self.collection[item_index]
        units, unit = self.assigned_work[node], unit_of(nodeid)
        del units[unit][nodeid]
        if not units[unit]:
            del units[unit]
        self._reschedule(node)

    def remove_node(self, node):
        """Forget a worker that has ended; return the test that it was running, if any."""
        units = self.assigned_work.pop(node)
        crashed = next((nodeid for tests in units.values() for nodeid in tests), None)
        for unit, tests in units.items():
            tests.pop(crashed, None)
            if tests:
                self.workqueue[unit] = tests
        for other in self.assigned_work:
            self._reschedule(other)
        return crashed
