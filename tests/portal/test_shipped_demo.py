"""Trained on the days that come along, the portal finds the attacks of the demo capture that comes along."""

import re

from tests.fixtures.data import ROOT
from tests.portal.conftest import listening, make_champion, portal_settings


def test_most_attacks_of_the_demo_alert_and_hardly_any_of_the_rest(lab_bundle, tmp_path):
    settings = portal_settings(tmp_path).model_copy(update={"workspace": ROOT})
    make_champion(settings, lab_bundle)
    with listening(settings) as portal:
        page = portal.client.get(portal.client.post("/try").headers["location"]).text
    told = re.search(r"(.*) of (.*) attack flows alert, and (.*) of (.*) benign", page)
    assert told
    found, attacks, false, benign = (int(re.sub(r"\D", "", number)) for number in told.groups())
    assert attacks > 150 and found > attacks / 2
    assert benign > 2000 and false <= 0.004 * benign, f"{found} of {attacks}, {false} of {benign}"
