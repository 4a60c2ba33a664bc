"""Chinese templates of the messages that errors of the routes send to callers of the API.

Keys and fields are those of the English catalogues (`messages.py` of each package).
"""

from __future__ import annotations

from collections.abc import Mapping

TEMPLATES: Mapping[str, str] = {
    # --- planning: titles of operations ---
    "tasks.planning.start": "启动",
    "tasks.planning.stop": "停止",
    "tasks.planning.blocked": "{reason}；{remedy}",
    "tasks.planning.not_running": "未运行",
    "tasks.planning.stop_planned": "正在运行，进程号 {pid}；方式 {mode}",
    "tasks.planning.plain_stop_planned": "用 SQL 退出服务，进程继续运行",
    "tasks.planning.host_silent": "主机在 {limit_s:g} 秒内无响应",
    "tasks.monitoring.process_missing": "服务器未运行",
    "tasks.monitoring.sql_timed_out": "SQL 未及时响应",
    "tasks.monitoring.host_unreachable": "无法连接主机 {host}：{reason}",
    "tasks.monitoring.process_unknown": "无法在 {host} 上识别其进程；`dagengine doctor` 会显示原因",
    "tasks.monitoring.state_outdated": "{host} 未被监视：{reason}",
    "tasks.monitoring.host_silent": "主机在 {limit_s:g} 秒内无响应",
    "tasks.planning.mode_terminate": "先将数据写入磁盘，再结束进程",
    "tasks.planning.mode_force": "立即结束进程",
    "tasks.planning.mode_sql": "用 SQL 退出服务，进程继续运行",
    # --- cluster ---
    "tasks.cluster.address_invalid": "'{address}' 不是有效的地址",
    "tasks.cluster.write_address": "请用 IP:端口 代替 {address!r}；集群包含 {names}",
    "tasks.cluster.ip_invalid": "'{ip}' 不是有效的 IP 地址",
    "tasks.cluster.port_invalid": "端口 '{port}' 无效，必须在 [1025, 65535] 之内",
    "tasks.cluster.scope_invalid": "范围 '{scope}' 无效",
    "tasks.cluster.send_scope": "请传入 GLOBAL、ZONE 或 SERVER",
    "tasks.cluster.server_unknown": "服务器 '{server}' 不存在",
    "tasks.cluster.zone_unknown": "Zone '{zone}' 不存在",
    "tasks.cluster.name_known": "集群中有：{names}",
    "tasks.cluster.target_empty": "输入参数 'target' 非法：目标为空",
    "tasks.cluster.file_refused": "{name} 被拒绝（{reason}）；继续使用 {time} 的版本",
    "tasks.cluster.login_refused": (
        "{servers}：上一次用所配置的 root@sys 密码进行的 SQL 登录被拒绝（错误 1045）；"
        "请在 {source} 中更正密码"
    ),
    "tasks.cluster.and_more": "{names} 等，另有 {count} 个",
    # --- preflight ---
    "tasks.preflight.check_unknown": "没有检查项 '{check}'；现有：{names}",
    "tasks.preflight.check_not_skippable": "检查项 '{check}' 不能跳过；可以跳过的有：{names}",
    # --- flavours ---
    "tasks.flavours.majority_lost": "没有 zone {zone}，这些租户会失去多数派：{tenants}",
    "tasks.flavours.tenant_streams": "{tenant}（日志流 {streams}）",
    "tasks.flavours.tenant_number": "租户 {number}",
    "tasks.flavours.servers_unreachable": "没有服务器响应 SQL，因此不能先写入其数据",
    "tasks.flavours.send_force": "请传入 force 而不是 terminate",
    "tasks.flavours.database_unreachable": "数据库没有响应：{reason}",
    "tasks.flavours.start_missing_or_force": "请启动缺少的服务器，或用 force 停止单个服务器",
    "tasks.flavours.remedies": "{first}；{second}",
    "tasks.flavours.or_stop_with_force": "{remedy}；或用 force 停止",
    "tasks.flavours.other_zone_stopped": "zone {zones} 已停止，或其中有已停止的服务器",
    "tasks.flavours.plain_stop_unsupported": (
        "seekdb 不能用 SQL 退出服务，而不带 terminate 和 force 的 {scope} 停止需要这样做"
    ),
    "tasks.flavours.send_terminate_or_force": "请传入 terminate（先写入其数据）或 force",
    "tasks.flavours.several_zones": "这些服务器在多个 zone 中：{zones}",
    "tasks.flavours.start_other_zone": "请先启动它：同一时间只能有一个 zone 退出服务",
    "tasks.flavours.start_other_zones": "请先启动其他 zone 的服务器",
    "tasks.flavours.stop_one_zone": "请只停止一个 zone，或同一 zone 的服务器",
    # --- routes ---
    "tasks.planning.skip_checks_illegal": "输入参数 'skipChecks' 非法：{reason}",
    "tasks.planning.plain_stop_of_cluster": "整个集群不能用 SQL 退出服务",
    "tasks.planning.send_terminate_or_force": "请传入 terminate（先写入数据）或 force",
    "tasks.planning.stop_modes_conflict": "force 和 terminate 互相排斥",
    "tasks.planning.send_one_mode": "请只传入其中之一",
}
