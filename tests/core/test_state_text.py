"""The text that is put together of parts is the one that would be made at once."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from state_documents import state_to

from update_all.core.models import Change, CheckResult, CheckStatus, StepExecutionState, StepResult
from update_all.core.state_text import StateText
from update_all.core.transitions import PluginState

NAMES = st.sampled_from(["a", "b", 'quoted "name"', "ü\n"])
RESULTS = st.builds(
    StepResult, NAMES, st.booleans(), output=st.text(), exit_code=st.integers() | st.none(), reason=st.text()
)
CHECKS = st.none() | st.builds(
    CheckResult,
    st.sampled_from(CheckStatus),
    st.lists(st.builds(Change, st.text(), st.text() | st.none(), st.text() | st.none())).map(tuple),
    st.text(),
)
CHANGES = st.lists(
    st.tuples(st.just("result"), NAMES, RESULTS)
    | st.tuples(st.just("forget"), NAMES, st.none())
    | st.tuples(st.just("check"), NAMES, CHECKS),
    max_size=12,
)


@given(CHANGES)
def test_it_is_the_text_of_the_state_after_any_changes(changes: list[tuple[str, str, object]]) -> None:
    state, text = PluginState(run_id="r", execution=StepExecutionState("apt")), StateText()
    for kind, name, value in changes:
        if isinstance(value, StepResult):
            state.execution.step_results[name] = value
        elif kind == "forget":
            state.execution.step_results.pop(name, None)
        else:
            assert value is None or isinstance(value, CheckResult)
            state.check = value
        assert json.loads(text.of(state)) == state_to(state)
