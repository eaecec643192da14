"""Refusals of decisions on holds: what is wrong and what to do, in both languages."""

from shared.problems import Problem, not_found


def no_hold() -> Problem:
    return not_found("暂缓记录", "hold", "hold.not_found")


def hold_changed() -> Problem:
    return Problem(
        409,
        "hold.changed",
        "这笔暂缓在您查看之后已有变化或已解除，请重新查看该快件的暂缓记录后再作决定。",
        "This hold has changed or ended since you looked: read the parcel's holds again, then decide.",
    )


def hold_decided() -> Problem:
    return Problem(
        409,
        "hold.decided",
        "这笔暂缓已有决定，不能重复决定；重新核定后即按该决定执行。",
        "This hold has been decided already; the parcel follows that decision once it is re-assessed.",
    )


def nothing_to_release(reason_code: str) -> Problem:
    return Problem(
        409,
        "hold.nothing_to_release",
        f"{reason_code}：没有可适用的政策或档次，解除后无款可付。请先由县发改局补充政策，系统会自动重算；也可以确认不补。",
        f"{reason_code}: no policy or rate applies, so a release would pay nothing. Add a policy first; the parcel is then re-assessed "
        "by itself. Or confirm the hold.",
    )


def gains_from_hold() -> Problem:
    return Problem(
        403,
        "hold.gains",
        "您是这笔补贴的收款方，不能决定它的暂缓；请由县里其他审核人员处理。",
        "You would be paid by this: another reviewer of the county must decide it.",
    )


def own_hold() -> Problem:
    return Problem(
        403,
        "hold.own",
        "这笔暂缓是您设置的，须由另一名审核人员决定。",
        "You placed this hold: another reviewer must decide it.",
    )


def hold_placed_already() -> Problem:
    return Problem(
        409,
        "hold.placed_already",
        "该快件已有同一原因的人工暂缓，尚未作出决定。",
        "A hold of this reason has been placed on this parcel already and is not decided yet.",
    )
