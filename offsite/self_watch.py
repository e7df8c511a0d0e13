"""The platform's alarms about itself, as one pure function: what was seen enters, the conditions that stand leave.

`look` compares a snapshot with what is remembered (how long a partition has not moved, since when a condition stands) and returns
both anew. No clock, no I/O: times are in the snapshot. Every condition says since when, in words zh and en, and what to do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from offsite import self_seen
from offsite.self_seen import Bounds, Found, Memory, Snapshot

Severity = Literal["warning", "critical"]
IDLE = -1
"""Remembered as the position of a partition in which nothing waits."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition that stands: what, of which subject, since when (ms UTC), in words, and what to do. `blocks`: not ready."""

    id: str
    subject: str
    severity: Severity
    blocks: bool
    since: int
    zh: str
    en: str
    remedy_zh: str
    remedy_en: str


class Kind(NamedTuple):
    """One kind of condition: how it is found, and its words."""

    id: str
    severity: Severity
    blocks: bool
    find: Callable[[Snapshot, Memory, Bounds], Found]
    zh: str
    en: str
    remedy_zh: str
    remedy_en: str


KINDS = (
    Kind(
        "partition_dead",
        "critical",
        True,
        self_seen.dead,
        "分区 {subject} 停滞：{lag} 条记录等待，{seconds} 秒没有提交",
        "Partition {subject} is dead: {lag} records wait, nothing has been committed for {seconds} s",
        "查看研判进程的日志；若反复失败，日志中有出错的记录或规则",
        "Read the log of the judging process: if it fails again and again, the log names the record or the rule",
    ),
    Kind(
        "judging_behind",
        "warning",
        False,
        self_seen.behind,
        "分区 {subject} 的研判落后 {seconds} 秒，{lag} 条记录等待",
        "Judging of partition {subject} is {seconds} s behind, {lag} records wait",
        "停机后追赶属正常；若持续增长，增加研判进程或减少输入",
        "Normal while it catches up after a stop; if it grows, add a worker or find what sends so much",
    ),
    Kind(
        "tick_stopped",
        "critical",
        True,
        self_seen.tick,
        "分区 {subject} 的时钟节拍已停 {seconds} 秒：断数、超时与窗口不再判定",
        "No tick in partition {subject} for {seconds} s: silence, waits and windows are not judged",
        "检查写入日志的进程与磁盘；校正系统时钟（NTP）",
        "Look at the process that writes the log and at its disk; set the clock right (NTP)",
    ),
    Kind(
        "judge_silent",
        "critical",
        True,
        self_seen.silent,
        "研判进程已有 {seconds} 秒没有消息",
        "The judge has given no sign for {seconds} s",
        "查看其日志；它退出后会自动重启，不丢数据",
        "Read its log; when it ends it is started again and loses nothing",
    ),
    Kind(
        "detector_failing",
        "critical",
        False,
        self_seen.failing,
        "规则 {subject} 的检测器出错",
        "The detector of rule {subject} fails",
        "日志中有出错位置；可在方案中停用该规则后重启",
        "The log says where; the rule can be taken out of the plan until it is mended",
    ),
    Kind(
        "disk_full",
        "critical",
        True,
        self_seen.full,
        "磁盘已满（{subject}）：剩余 {mb} MB，不再接收数据",
        "The disk is full ({subject}): {mb} MB are left, nothing more is taken",
        "释放空间或迁移数据目录；未应答的数据由设备补传",
        "Free space or move the data directory; devices send again what was not acknowledged",
    ),
    Kind(
        "disk_low",
        "warning",
        False,
        self_seen.low,
        "磁盘空间不足（{subject}）：剩余 {mb} MB",
        "The disk gets short ({subject}): {mb} MB are left",
        "释放空间，或扩容",
        "Free space or add some",
    ),
    Kind(
        "clock_skew",
        "warning",
        False,
        self_seen.skew,
        "本机时钟比日志慢 {seconds} 秒：日志时间暂停前进",
        "This machine's clock is {seconds} s behind the log: log time stands still until it has caught up",
        "校正系统时钟（NTP）",
        "Set the clock right (NTP)",
    ),
    Kind(
        "target_failing",
        "warning",
        False,
        self_seen.target,
        "转发目标 {subject} 失败：{waiting} 条等待（{reason}）",
        "Target {subject} fails: {waiting} wait ({reason})",
        "检查对方服务与网络；恢复后自动补发",
        "Look at the other side and the network; what waits is sent when it is back",
    ),
    Kind(
        "spool_filling",
        "warning",
        False,
        self_seen.spool,
        "暂存已用 {share}%：Kafka 不可达",
        "The spool is {share} % full: Kafka cannot be reached",
        "检查 Kafka；恢复后按序补写",
        "Look at Kafka; what is spooled is written in order when it is back",
    ),
    Kind(
        "spool_full",
        "critical",
        True,
        self_seen.spool_full,
        "暂存已用 {share}%：满后不再应答设备",
        "The spool is {share} % full: once it is, devices get no answer",
        "恢复 Kafka，或加大暂存上限",
        "Bring Kafka back, or allow the spool more",
    ),
    Kind(
        "database_away",
        "critical",
        True,
        self_seen.database,
        "数据库 {subject} 不可用：{error}",
        "Database {subject} is away: {error}",
        "检查数据库服务；恢复后自动继续",
        "Look at the database server; work goes on by itself when it is back",
    ),
    Kind(
        "history_away",
        "warning",
        False,
        self_seen.history,
        "历史库 {subject} 不可用：{error}；研判不受影响",
        "History store {subject} is away: {error}; judging goes on",
        "检查该服务；恢复后自动补写",
        "Look at that server; what is missing is written when it is back",
    ),
    Kind(
        "certificate_expiring",
        "warning",
        False,
        self_seen.expiring,
        "证书 {subject} 将在 {days} 天后到期",
        "Certificate {subject} ends in {days} days",
        "更换证书文件并重启该进程",
        "Renew the certificate file and restart the process",
    ),
    Kind(
        "certificate_expired",
        "critical",
        False,
        self_seen.expired,
        "证书 {subject} 已过期",
        "Certificate {subject} has expired",
        "更换证书文件并重启该进程",
        "Renew the certificate file and restart the process",
    ),
)
"""Every kind of condition, by the order in which they are told."""


def look(seen: Snapshot, memory: Memory, bounds: Bounds = Bounds()) -> tuple[list[Condition], Memory]:  # noqa: B008 — frozen
    """Return the conditions that stand at `seen.now`, the critical ones first, and what to remember until the next look."""
    moved = {}
    for part in seen.partitions:
        waits_at = part.position if part.end > part.position else IDLE
        before, since = memory.moved.get(part.name, (IDLE, seen.now))
        moved[part.name] = (waits_at, since if waits_at == before else seen.now)
    memory = Memory(moved, memory.since)
    standing: list[Condition] = []
    for kind in KINDS:
        for subject, figures in kind.find(seen, memory, bounds):
            words = {"subject": subject, **figures}
            since = min(memory.since.get((kind.id, subject), seen.now), seen.now)
            texts = (text.format(**words) for text in (kind.zh, kind.en, kind.remedy_zh, kind.remedy_en))
            standing.append(Condition(kind.id, subject, kind.severity, kind.blocks, since, *texts))
    standing.sort(key=lambda c: (c.severity != "critical", c.since))
    return standing, Memory(moved, {(c.id, c.subject): c.since for c in standing})
