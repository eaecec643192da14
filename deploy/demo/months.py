"""What closing a month did, checked by adding up its lines (docs/rules.md, Closing a month). Carried away beside recompute.py.

月度关账的核对：只把明细逐月相加，不用本系统的代码。
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

Json = dict[str, Any]
Numbers = tuple[str, str]  # brand, waybill number


def is_adjustment(payout: Json) -> bool:
    """Of a closing, or the reversal of one: it says nothing of what a parcel is entitled to."""
    return payout["adjusts"] is not None


def adjusted_fen(payouts: Iterable[Json]) -> dict[Numbers, int]:
    """By parcel, what closings took off what it is entitled to, and gave back."""
    found: dict[Numbers, int] = defaultdict(int)
    for p in payouts:
        if is_adjustment(p):
            found[p["brand"], p["waybill_no"]] += p["amount_fen"]
    return dict(found)


def limits_of(policies: Iterable[Json]) -> dict[tuple[str, str], int]:
    """(policy version, scheme) → fen per parcel, on the average."""
    return {(p["policy_version"], c["scheme"]): c["limit_fen_per_parcel"] for p in policies for c in p["ceilings"]}


def compare_months(
    payouts: Iterable[Json], told: Iterable[Json], limits: Mapping[tuple[str, str], int], month: str | None = None
) -> list[str]:
    """`told`: the months as `GET /v1/periods` has them; `month`: of which one to speak (null: of all).

    Every month's sums; of a closed one, that no ceiling is exceeded but by what was carried on, in it and in all months up to it together.
    """
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])  # parcels, gross, adjusted
    over: dict[str, int] = defaultdict(int)  # fen above limit x parcels, of lines under a ceiling
    for p in payouts:
        row, parcels = sums[p["period"]], 0
        if is_adjustment(p):
            row[2] += p["amount_fen"]
        else:
            parcels = 1 if p["reverses"] is None else -1
            row[0], row[1] = row[0] + parcels, row[1] + p["amount_fen"]
        if (limit := limits.get((p["policy_version"], p["scheme"]))) is not None:
            over[p["period"]] += p["amount_fen"] - limit * parcels
    differences = []
    months = {m["period"]: m for m in told}
    for period in [month] if month else sorted(sums.keys() | months.keys()):
        mine = sums.get(period, [0, 0, 0])
        said = months.get(period)
        theirs = [said[name] for name in ("parcels", "gross_fen", "adjusted_fen")] if said else [0, 0, 0]
        if mine != theirs:
            differences.append(f"{period}: 明细 lines {mine}, 月度 period {theirs} (parcels, gross_fen, adjusted_fen)")
        if said and said["status"] == "closed":
            carried, together = said["carried_out_fen"], sum(fen for of, fen in over.items() if of <= period)
            if max(over[period], together) > carried:
                differences.append(
                    f"{period}: 超过平均上限 above the ceiling by {over[period]} fen, 累计 together {together}, 结转 carried on {carried}"
                )
    return differences
