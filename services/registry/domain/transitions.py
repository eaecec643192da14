"""The filing's status machine (末端备案). Drawn, with the reason of every wait, in docs/registry-filings.md.

Source: 《快递末端网点备案暂行规定》 arts. 5–10; the machine itself is implied by them, what we added is marked there.
"""

from shared.contracts.registry import FilingStatus as S

TRANSITIONS: dict[S, tuple[S, ...]] = {
    S.DRAFT: (S.SUBMITTED,),
    S.SUBMITTED: (S.CORRECTION_REQUESTED, S.FILED),
    S.CORRECTION_REQUESTED: (S.RESUBMITTED,),
    S.RESUBMITTED: (S.CORRECTION_REQUESTED, S.FILED),
    S.FILED: (S.CHANGE_PENDING, S.LAPSED, S.CANCELLED, S.EXPIRED, S.SUSPENDED),
    S.CHANGE_PENDING: (S.FILED, S.LAPSED, S.CANCELLED, S.EXPIRED, S.SUSPENDED),
    S.SUSPENDED: (S.FILED, S.LAPSED, S.CANCELLED, S.EXPIRED),
    S.LAPSED: (),
    S.CANCELLED: (),
    S.EXPIRED: (),
}
# What the filer may say itself; every other status is the postal administration's decision.
SUBMISSIONS = frozenset({S.DRAFT, S.SUBMITTED, S.RESUBMITTED, S.CHANGE_PENDING})
# From here on a receipt (备案回执, art. 7) exists.
WITH_RECEIPT = frozenset({S.FILED, S.CHANGE_PENDING, S.LAPSED, S.CANCELLED, S.EXPIRED, S.SUSPENDED})


def allowed(status: S, to: S) -> bool:
    return to in TRANSITIONS[status]


def is_submission(to: S) -> bool:
    return to in SUBMISSIONS
