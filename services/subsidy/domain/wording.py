"""The words of an explanation, Chinese and English, for officials and villagers. A test holds the two to the same keys and fields."""

from collections.abc import Mapping

Words = Mapping[str, str]

ACTIONS: Mapping[str, Words] = {
    "zh": {
        "station_inbound": "到站入库",
        "station_pickup": "站点取件",
        "signed": "签收",
        "signed_by_agent": "他人代收",
        "taken_back": "快递员取回",
        "refused": "拒收",
        "returning": "退回途中",
        "returned": "已退回",
        "transferred": "转其他快递",
        "picked_up": "揽收",
    },
    "en": {
        "station_inbound": "received at the station",
        "station_pickup": "picked up at the station",
        "signed": "signed for",
        "signed_by_agent": "signed for by another",
        "taken_back": "taken back by the courier",
        "refused": "refused",
        "returning": "on its way back",
        "returned": "returned",
        "transferred": "handed to another courier",
        "picked_up": "picked up from its sender",
    },
}

BRANDS: Mapping[str, Words] = {
    "zh": {
        "zto": "中通",
        "sf": "顺丰",
        "yto": "圆通",
        "sto": "申通",
        "yunda": "韵达",
        "jt": "极兔",
        "jd": "京东",
        "ems": "EMS",
        "chinapost": "中国邮政",
        "cainiao": "菜鸟",
    },
    "en": {
        "zto": "ZTO",
        "sf": "SF",
        "yto": "YTO",
        "sto": "STO",
        "yunda": "Yunda",
        "jt": "J&T",
        "jd": "JD",
        "ems": "EMS",
        "chinapost": "China Post",
        "cainiao": "Cainiao",
    },
}

# Reasons that are the fold's own; a clause's reason is told by the clause's title. Each says what happened, in its first sentence, and
# what to do next.
REASONS: Mapping[str, Words] = {
    "zh": {
        "evidence.contested": "同一次扫描有内容不同的版本，结果不一致。请数据源（发送方）核实哪一个为准，由县里人工处理。",
        "waybill.reused": "同一运单号的扫描前后相隔超过180天，可能是号码重复使用。请快递企业核实，由县里人工处理。",
        "transfer.unlinked": "快件转给了其他快递企业，两张运单尚未关联。请快递企业提供新单号，由县里人工处理。",
        "policy.not_in_force": "扫描当时没有生效的补贴政策。请县发改局确认政策的有效期。",
        "policy.no_rate": "政策中没有适用的档次。请县发改局补充费率。",
        "uplink.needs_declaration": "这是从县里寄出的上行件，须由经营主体申报后按上行办法处理。",
        "uplink.not_subsidised": "寄出当天的政策不补贴上行件。",
        "evidence.voided": "到站、签收等记录都已被撤销或由快递员取回。等待新的扫描。",
        "evidence.no_station": "扫描没有指明登记过的乡镇或村级站点。请数据源（发送方）补报站点。",
        "site.unmapped": "扫描中的站点名称或编码还没有对应到登记站点。请在登记系统中为站点添加别名，系统会自动重算。",
        "station.no_operator": "站点当时没有登记运营企业，不知付给谁。请在登记系统中补登运营企业，系统会自动重算。",
        "parcel.returned": "快件已退回寄件方。",
        "parcel.returning": "快件正在退回寄件方。",
        "parcel.refused": "收件人拒收，之后没有签收。",
        "hold.incident": "该快件涉及突发事件，由人工暂缓。请县里核实事件后决定。",
        "hold.suspicion": "该快件有疑点，由人工暂缓。请县里核实后决定。",
        "hold.conflict": "该快件有权属或归属争议，由人工暂缓。请县里核实后决定。",
        "hold.missing_document": "该快件缺少证明材料，由人工暂缓。请企业补交材料，由县里决定。",
        "hold.confirmed": "经人工核实，确认不予补贴。",
        "ceiling.average": "当月平均每件超过政策上限，超出部分不付。",
        "cap.annual": "该经营主体全年补贴超过上限，超出部分不付。",
        "budget.exhausted": "当年预算已用完，不足部分不付。",
        "budget.awaiting": "当年预算不足，等待追加预算。",
        "budget.available": "预算已追加，补回。",
        "vesting.not_met": "该经营主体全年件数或销售额未达到要求，已记补贴收回。",
        "year.restored": "该经营主体全年核算后补回。",
    },
    "en": {
        "evidence.contested": "The same scan was told with different contents, and they do not come to the same. "
        "The feed (its sender) must confirm which one is right; a person decides.",
        "waybill.reused": "Scans of this number lie more than 180 days apart: it may have been used twice. "
        "The courier must check; a person decides.",
        "transfer.unlinked": "The parcel went on with another courier and the two waybills are not linked. "
        "The courier must name the new number; a person decides.",
        "policy.not_in_force": "No subsidy policy was in force at the scan. "
        "The county's development and reform bureau must confirm its validity.",
        "policy.no_rate": "The policy has no rate for this case. The county's development and reform bureau must add one.",
        "uplink.needs_declaration": "An uplink parcel, sent from the county: its merchant must declare it, "
        "and it is treated under the uplink rules.",
        "uplink.not_subsidised": "The policy of that day pays nothing for uplink parcels.",
        "evidence.voided": "Every arrival and receipt was retracted or taken back by the courier. Waiting for a new scan.",
        "evidence.no_station": "The scans name no registered township or village station. The feed (its sender) must report the station.",
        "site.unmapped": "The place named in a scan belongs to no registered station yet. "
        "Add it as an alias in the registry; the parcel is then reassessed by itself.",
        "station.no_operator": "The station had no operator then, so there is nobody to pay. "
        "Add the operator in the registry; the parcel is then reassessed by itself.",
        "parcel.returned": "The parcel was returned to its sender.",
        "parcel.returning": "The parcel is on its way back to its sender.",
        "parcel.refused": "The addressee refused it and no receipt followed.",
        "hold.incident": "The parcel is part of an incident and was held by hand. The county must look into it and decide.",
        "hold.suspicion": "There is a suspicion about the parcel and it was held by hand. The county must look into it and decide.",
        "hold.conflict": "The parcel is disputed and was held by hand. The county must look into it and decide.",
        "hold.missing_document": "A document is missing and the parcel was held by hand. The company must hand it in; the county decides.",
        "hold.confirmed": "A person looked into it and confirmed that nothing is paid.",
        "ceiling.average": "The month's average per parcel is above the policy's ceiling. What exceeds it is not paid.",
        "cap.annual": "The merchant's year is above the cap. What exceeds it is not paid.",
        "budget.exhausted": "The year's budget is used up. What is missing is not paid.",
        "budget.awaiting": "The year's budget is not enough. It waits for more.",
        "budget.available": "There is more budget. It is given back.",
        "vesting.not_met": "The merchant's year stayed below the required parcels or sales. What had been accrued is taken back.",
        "year.restored": "The merchant's year was worked out again. It is given back.",
    },
}

MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December",
)  # fmt: skip

LEVELS: Mapping[str, Words] = {
    "zh": {"village": "村级站点", "township": "乡镇站点"},
    "en": {"village": "village station", "township": "township station"},
}

STATUSES: Mapping[str, Words] = {
    "zh": {"planned": "筹建中", "open": "营业中", "suspended": "暂停营业", "closed": "已关闭"},
    "en": {"planned": "planned", "open": "open", "suspended": "suspended", "closed": "closed"},
}

RESULTS: Mapping[str, Words] = {
    "zh": {
        "pass": "符合",
        "fail": "不符合（因此不予补贴）",
        "hold": "不符合（因此暂缓，由人工处理）",
        "would_fail": "不符合（仅提示，不影响补贴）",
        "unknown": "尚不能判断",
        "not_applicable": "不适用",
    },
    "en": {
        "pass": "met",
        "fail": "not met (so nothing is paid)",
        "hold": "not met (so it is held for a person)",
        "would_fail": "not met (reported only, changes nothing)",
        "unknown": "cannot be judged yet",
        "not_applicable": "does not apply",
    },
}

# What would have to be so, of each fact that somebody can see to.
ALTERNATIVES: Mapping[str, Words] = {
    "zh": {
        "station.filed": "如果{day}站点已就该品牌有效备案",
        "station.operating_status": "如果{day}站点正常营业",
        "parcel.hub_arrived": "如果快件在{day}前经县级中心到件",
        "parcel.returned": "如果快件{day}到站后没有退回或被拒收",
        "parcel.final_receipt": "如果快件{day}到站后有收件人取件或签收的记录",
        "merchant.qualified": "如果{day}经营主体已通过资格认定",
        "merchant.has_shop": "如果{day}经营主体在该平台的店铺已经核实",
        "declaration.platform_listed": "如果{day}的订单来自政策列出的平台",
        "declaration.in_catalogue": "如果{day}寄出的是目录内的农产品",
        "declaration.consignor": "如果{day}的扫描带有申报的订单号",
        "declaration.out_of_county": "如果{day}寄往县外",
        "parcel.left_county": "如果{day}之后有离开县域的扫描",
    },
    "en": {
        "station.filed": "had the station's filing for this brand been valid on {day}",
        "station.operating_status": "had the station been open on {day}",
        "parcel.hub_arrived": "had the parcel come through the county hub by {day}",
        "parcel.returned": "had the parcel not gone back after it arrived on {day}",
        "parcel.final_receipt": "had the addressee's own receipt been known after it arrived on {day}",
        "merchant.qualified": "had the merchant been approved on {day}",
        "merchant.has_shop": "had the merchant's shop on that platform been seen by {day}",
        "declaration.platform_listed": "had the order of {day} come from a platform that the policy lists",
        "declaration.in_catalogue": "had what was sent on {day} been a farm product of the catalogue",
        "declaration.consignor": "had the scans of {day} carried the order number that was declared",
        "declaration.out_of_county": "had it been sent out of the county on {day}",
        "parcel.left_county": "had a scan after {day} shown that it left the county",
    },
}

# Sentences; {names} are filled in by explain.py.
SENTENCES: Mapping[str, Words] = {
    "zh": {
        "payable": "结论：应予补贴 {net} 元{sample}，付给{beneficiary}，计入 {day}。",
        "refused": "结论：不予补贴。{reasons}",
        "held": "结论：暂缓，等待人工处理；所涉金额 {held} 元{sample}。{reasons}",
        "pending": "结论：待定，等待补充材料，暂不计补贴。{reasons}",
        "in_transit": "结论：快件在途，还没有到站、签收或退回的记录，暂不计入任何统计。",
        "reversed": "此前记入的补贴已冲回：{posted} 元。原因：{why}。",
        "clause_reason": "未满足：{title}。",
        "sample": "（样例费率）",
        "deciding": "依据的扫描：{at}，{place}，{action}（{brand}）。",
        "standing": "站点当时：{level}，{status}，{filed}。",
        "filed": "已就{brand}备案",
        "unfiled": "未就{brand}备案",
        "clauses": "逐条判定（{policy}）：",
        "clause": "{n}. {title}：{result}。{basis}",
        "quoted": "依据{document} {section}：“{quote}”。",
        "derived": "由{document}{section}推出：{how}",
        "assumption": "项目假设，待县发改局确认：{how}",
        "arithmetic": "计算：{lines}合计 {net} 元。",
        "line": "档次“{tier}”（{rate}）{amount} 元；",
        "line_uplink": "{rate} {amount} 元；",
        "no_place": "（未登记的地点）",
        "declared": "申报：{merchant} 申报单 {declaration} 第 {row} 行，{platform}，{product}，寄往{destination}，运费 {freight} 元。",
        "unvested": "年度条件：{year} 年该经营主体须满 {parcels} 件且网络销售额满 {sales} 元，每年最多 {cap} 元；"
        "年末未满足的，已记补贴收回。",
        "new_freight": "申报的运费更正后金额由 {old} 元改为 {new} 元",
        "scans": "相关扫描：{each}。",
        "scan": "{at} {action}{where}{mark}",
        "where": "，{place}",
        "unmapped": "（地点未对应到站点）",
        "retracted": "（已撤销）",
        "contested": "（内容有出入）",
        "alternative_more": "{condition}，可多得 {difference} 分，共 {amount} 元。",
        "alternative_less": "{condition}，会少得 {difference} 分，共 {amount} 元。",
        "alternative_held": "{condition}，{amount} 元无须人工处理即应补。",
        "released": "解除暂缓后：{each}。",
        "adjusted": "{kind}（{why}）{amount} 元；",
        "with_its_line": "{kind}随原补贴一并冲回",
        "variants": "各版本的结果：{each}。",
        "variant": "{outcome} {amount} 元{where}（{day}）",
        "history": "入账经过：{each}。净额 {net} 元。",
        "entry": "{at} {kind} {amount} 元{why}",
        "entry_why": "（{why}）",
        "tier": "档次“{tier}”",
        "new_station": "决定补贴的站点由{old}改为{new}",
        "new_beneficiary": "收款企业由{old}改为{new}",
        "new_day": "计入日期由 {old} 改为 {new}",
        "new_filing": "备案状态更正后档次由“{old}”改为“{new}”",
        "new_tier": "档次由“{old}”改为“{new}”",
        "new_amount": "适用的补贴政策更新后金额由 {old} 元改为 {new} 元",
        "nobody": "（无运营企业）",
        "incidents": "服务质量问题：{each}。处理有进展时自动重算。",
        "incident": "{incident} {kind}（{about}）自 {since} 起{status}",
        "ruled": "人工处理：{each}。",
        "ruling": "{at} {by} {decision}（{reason}），理由：{note}",
    },
    "en": {
        "payable": "Result: {net} yuan{sample} to be paid to {beneficiary}, counted on {day}.",
        "refused": "Result: no subsidy. {reasons}",
        "held": "Result: held for a person to decide; {held} yuan{sample} at stake. {reasons}",
        "pending": "Result: pending, nothing is counted yet. {reasons}",
        "in_transit": "Result: in transit; no arrival at a station, receipt or return is known yet, and it is in no total.",
        "reversed": "What was posted before has been reversed: {posted} yuan. Why: {why}.",
        "clause_reason": "Not met: {title}.",
        "sample": " (sample rate)",
        "deciding": "Deciding scan: {at}, {place}, {action} ({brand}).",
        "standing": "The station then: {level}, {status}, {filed}.",
        "filed": "filed for {brand}",
        "unfiled": "not filed for {brand}",
        "clauses": "Clause by clause ({policy}):",
        "clause": "{n}. {title}: {result}. {basis}",
        "quoted": "{document}, {section}: “{quote}”.",
        "derived": "Derived from {document}{section}: {how}",
        "assumption": "Assumption of this project, to be confirmed by the county (项目假设，待县发改局确认): {how}",
        "arithmetic": "Arithmetic: {lines}total {net} yuan.",
        "line": "rate “{tier}” ({rate}) {amount} yuan; ",
        "line_uplink": "{rate} {amount} yuan; ",
        "no_place": "(a place that is no registered station)",
        "declared": "Declared: {merchant}, declaration {declaration}, row {row}: {platform}, {product}, to {destination}, "
        "freight {freight} yuan.",
        "unvested": "The year's condition: in {year} the merchant must reach {parcels} parcels and online sales of {sales} yuan, "
        "and gets at most {cap} yuan; what was accrued is taken back where the year ends below.",
        "new_freight": "the declared freight was corrected, so the amount changed from {old} to {new} yuan",
        "scans": "Scans: {each}.",
        "scan": "{at} {action}{where}{mark}",
        "where": ", {place}",
        "unmapped": " (place belongs to no station yet)",
        "retracted": " (retracted)",
        "contested": " (told differently)",
        "alternative_more": "It would have earned {difference} fen more, {amount} yuan in all, {condition}.",
        "alternative_less": "It would have earned {difference} fen less, {amount} yuan in all, {condition}.",
        "alternative_held": "{amount} yuan would be payable without anybody's decision, {condition}.",
        "released": "Once the hold is released: {each}.",
        "adjusted": "{kind} ({why}) {amount} yuan; ",
        "with_its_line": "what was {kind} goes with the line that it belonged to",
        "variants": "What the versions come to: {each}.",
        "variant": "{outcome} {amount} yuan{where} ({day})",
        "history": "Posted: {each}. Net {net} yuan.",
        "entry": "{at} {kind} {amount} yuan{why}",
        "entry_why": " ({why})",
        "tier": "rate “{tier}”",
        "new_station": "the station that decides changed from {old} to {new}",
        "new_beneficiary": "the operator to be paid changed from {old} to {new}",
        "new_day": "the day it counts on changed from {old} to {new}",
        "new_filing": "the station's filing was corrected, so the rate changed from “{old}” to “{new}”",
        "new_tier": "the rate changed from “{old}” to “{new}”",
        "new_amount": "another policy applies, so the amount changed from {old} to {new} yuan",
        "nobody": "(no operator)",
        "incidents": "Incidents: {each}. When one goes on, the parcel is assessed again by itself.",
        "incident": "{incident}, {kind} ({about}), since {since} {status}",
        "ruled": "Decided by people: {each}.",
        "ruling": "{at} {by} {decision} ({reason}), because: {note}",
    },
}

OUTCOMES: Mapping[str, Words] = {
    "zh": {"payable": "应补", "pending": "待定", "held": "暂缓", "refused": "不补", "in_transit": "在途"},
    "en": {"payable": "payable", "pending": "pending", "held": "held", "refused": "refused", "in_transit": "in transit"},
}

# What a tier asks for, by (fact, value).
TIERS: Mapping[str, Mapping[tuple[str, str | bool], str]] = {
    "zh": {
        ("level", "village"): "村级",
        ("level", "township"): "乡镇",
        ("filed", True): "已备案",
        ("filed", False): "未备案",
        ("distance", "near"): "近",
        ("distance", "far"): "远",
    },
    "en": {
        ("level", "village"): "village",
        ("level", "township"): "township",
        ("filed", True): "filed",
        ("filed", False): "not filed",
        ("distance", "near"): "near",
        ("distance", "far"): "far",
    },
}

# How an uplink parcel is paid.
UPLINK_RATES: Mapping[str, Words] = {
    "zh": {"uplink.flat": "上行件定额", "uplink.freight": "上行件按实际运费"},
    "en": {"uplink.flat": "the uplink amount for a parcel", "uplink.freight": "the actual freight, which is less than the uplink amount"},
}

KINDS: Mapping[str, Words] = {
    "zh": {"accrual": "记入", "reversal": "冲回", "adjustment": "调整", "cap": "封顶", "vesting": "转正", "clawback": "追回"},
    "en": {
        "accrual": "accrued",
        "reversal": "reversed",
        "adjustment": "adjusted",
        "cap": "capped",
        "vesting": "vested",
        "clawback": "clawed back",
    },
}

# What a person did with a hold.
RULINGS: Mapping[str, Words] = {
    "zh": {"place": "设置暂缓", "release": "解除暂缓", "confirm": "确认不补"},
    "en": {"place": "placed a hold", "release": "released the hold", "confirm": "confirmed the hold: nothing is paid"},
}

INCIDENT_KINDS: Mapping[str, Words] = {
    "zh": {
        "not_delivered_to_address": "未按址投递",
        "illegal_charge": "违规收费",
        "unconsented_receipt": "未经同意代收",
        "false_data": "弄虚作假",
    },
    "en": {
        "not_delivered_to_address": "not delivered to the address",
        "illegal_charge": "an illegal charge",
        "unconsented_receipt": "a receipt without consent",
        "false_data": "false data",
    },
}

INCIDENT_STATUSES: Mapping[str, Words] = {
    "zh": {
        "open": "待受理",
        "investigating": "核查中",
        "substantiated": "属实",
        "unfounded": "不属实",
        "rectified": "已整改",
        "closed": "已办结",
    },
    "en": {
        "open": "open",
        "investigating": "under investigation",
        "substantiated": "substantiated",
        "unfounded": "unfounded",
        "rectified": "rectified",
        "closed": "closed",
    },
}

# How an incident concerns the parcel.
INCIDENT_ABOUT: Mapping[str, Words] = {
    "zh": {"incident": "涉及本件", "station_incident": "涉及该站点"},
    "en": {"incident": "names this parcel", "station_incident": "about its station"},
}
