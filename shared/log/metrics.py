"""Every figure that the log shows to Prometheus."""

from prometheus_client import Counter, Gauge

APPENDED = Counter("tongcun_log_appended_total", "Entries numbered (counted before the commit)", ["topic"])
PUBLISHED = Counter("tongcun_log_published_total", "Records acknowledged by Kafka, repeats included", ["topic"])
TAKEN = Counter("tongcun_log_taken_total", "Positions taken, each exactly once", ["topic"])
SKIPPED = Counter("tongcun_log_skipped_total", "Records below or above our position, or not of the log", ["topic"])
REWINDS = Counter("tongcun_log_rewinds_total", "Times the relay went back: the topic was born again, or a consumer asked", ["topic", "why"])
ASKS = Counter("tongcun_log_asks_total", "Times a position was missing and the consumer asked for it", ["topic"])
OVERTAKEN = Counter("tongcun_log_overtaken_total", "Comparisons lost to another process on the same partition", ["topic", "role"])
RESTARTS = Counter("tongcun_log_restarts_total", "Times an endless task ended with a fault and began anew", ["task"])
REPORTS_FAILED = Counter("tongcun_log_reports_failed_total", "Reports that the writer did not answer", ["topic"])
BACKLOG = Gauge("tongcun_log_backlog", "Positions that Kafka does not have yet", ["topic", "partition"])
CLOSED = Gauge("tongcun_log_closed", "1: the partition takes no entries until an operator has recovered it", ["topic", "partition"])
LAG = Gauge("tongcun_log_lag", "Positions that we have not taken yet, exactly", ["topic", "partition"])
DIVERGED = Gauge("tongcun_log_diverged", "1: the writer's history is not the one that we continued", ["topic", "partition"])
WATERMARK = Gauge("tongcun_log_watermark_seconds", "Unix time up to which nothing is missing", ["topic"])
