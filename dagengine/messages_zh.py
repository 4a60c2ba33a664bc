"""Chinese templates of the messages that errors of `dagengine` send to callers of the API.

Keys and fields are those of the English catalogues (`messages.py` of each package). Identifiers,
such as states, operators, headers and keys, are not translated.
"""

from __future__ import annotations

from collections.abc import Mapping

TEMPLATES: Mapping[str, str] = {
    # --- dagengine: clients search for the prefix "Task not found" ---
    "dagengine.omitted": "{first} [… 省略 {size_bytes:,} 字节 …] {last}",
    "dagengine.task_not_found": "Task not found: 任务不存在：{detail}",
    "dagengine.cluster_unknown": "服务中没有集群 {cluster!r}",
    "dagengine.cluster_not_served": "控制器目前不提供集群 {cluster} 的服务",
    "dagengine.see_cluster_refusal": "原因见 `dagengine fleet` 或控制器日志；修正后发送 SIGHUP",
    "dagengine.invalid_id": "ID 无效：{generic_id}",
    "dagengine.invalid_id_reason": "ID 无效：{generic_id}：{detail}",
    "dagengine.not_owner": "此控制器当前不拥有集群 {cluster}",
    "dagengine.call_owner": "请调用位于 {url} 的控制器",
    "dagengine.home_unknown": "{path} 中的主目录未知",
    "dagengine.set_home": "请写绝对路径，或在本程序的环境中设置 HOME",
    "dagengine.call_later": "请几秒后重试",
    "dagengine.owner_unavailable": "当前没有控制器能为集群 {cluster} 应答；未执行任何操作",
    "dagengine.owner_lost": "拥有集群 {cluster} 的控制器在应答之前失联：结果未知",
    "dagengine.repeat_with_key": "请使用相同的 Idempotency-Key 重试",
    # --- server ---
    "server.fleet.cluster_configured": "集群 {cluster} 已配置，其数据被保留",
    "server.fleet.remove_cluster": "请从引擎文件中删除该集群，并重启控制器",
    "server.fleet.cluster_unfinished": "集群 {cluster} 有 {count} 个未结束的任务",
    "server.fleet.end_tasks": "请重新配置该集群并结束这些任务，或自行删除 {path}",
    "server.fleet.action_unknown": "集群 {cluster} 没有操作 {action!r}",
    # --- api ---
    "api.body_not_json": "JSON 解析失败：请求体不是 JSON：{reason}",
    "api.json_incomplete": "内容不完整，在第 {line} 行第 {column} 列结束",
    "api.json_continues": "结束之后还有内容，在第 {line} 行第 {column} 列",
    "api.json_too_deep": "嵌套过深，在第 {line} 行第 {column} 列",
    "api.json_fault": "第 {line} 行第 {column} 列有错误",
    "api.json_unreadable": "无法读取",
    "api.body_not_object": "JSON 解析失败：请求体不是 JSON 对象",
    "api.body_too_long": "JSON 解析失败：请求体中的值超过 {limit} 个",
    "api.body_invalid": "JSON 解析失败：{where}：{reason}",
    "api.parameter_invalid": "输入参数 '{name}' 非法：{reason}",
    "api.parameter_value": "输入参数 '{name}' 非法：{value!r}",
    "api.send_true_or_false": "请传入 true 或 false",
    "api.send_next_cursor": "请传入上一页返回的 next_cursor",
    "api.not_boolean": "{value!r} 既不是 true 也不是 false",
    "api.idempotency_key_invalid": "请求头 {header} 有 {length} 个字符，或包含不允许的字符",
    "api.send_idempotency_key": "请传入 1 到 {limit} 个可见的 ASCII 字符，例如 UUID",
    "api.plan_digest_invalid": "{header} {value!r} 不是计划的摘要",
    "api.send_plan_digest": "请传入同一请求试运行（dry run）返回的 `digest`",
    "api.route_without_plan": "该请求没有计划，无法检查 {header}",
    "api.omit_header": "请去掉该请求头",
    "api.plan_changed": "未执行任何操作：计划已改变",
    "api.plan_changed_in": "未执行任何操作：计划已改变：{changes}",
    "api.targets_changed": "服务器或选项",
    "api.verdicts_changed": "某台服务器上将执行的操作",
    "api.lock_changed": "锁的持有者",
    "api.cluster_file_changed": "集群文件",
    "api.review_new_plan": "请查看新计划，并在请求中传入它的摘要",
    "api.event_id_invalid": "{header} {value!r} 不是事件的编号",
    "api.send_last_event_id": "请传入最后收到的事件的 `id`，或去掉该请求头",
    "api.event_id_too_large": "{header} {event_id} 大于 {dag_id} 的最后一个事件 {last}",
    "api.omit_event_id": "去掉该请求头即可从头读取事件",
    "api.value_missing": "缺少该值",
    "api.name_unknown": "未知的名称",
    "api.not_whole_number": "不是整数",
    "api.not_number": "不是数字",
    "api.not_true_or_false": "既不是 true 也不是 false",
    "api.not_text": "不是文本",
    "api.not_list": "不是列表",
    "api.not_mapping": "不是键值映射",
    "api.not_matching": "不匹配 {pattern}",
    "api.not_one_of": "不是 {known}",
    "api.one_or_other": "{first} 或 {last}",
    "api.at_least": "至少为 {limit}",
    "api.more_than": "大于 {limit}",
    "api.at_most": "至多为 {limit}",
    "api.less_than": "小于 {limit}",
    "api.out_of_range": "必须{bound}",
    "api.value_empty": "为空",
    "api.text_too_short": "少于 {limit} 个字符",
    "api.text_too_long": "超过 {limit} 个字符",
    "api.too_few_items": "少于 {limit} 项",
    "api.too_many_items": "超过 {limit} 项",
    "api.value_invalid": "该值无效",
    "api.dag_not_found": "DAG {dag_id} 不存在",
    "api.node_not_found": "节点 {node_id} 不存在",
    "api.sub_task_not_found": "子任务 {sub_task_id} 不存在",
    "api.dag_id_mismatch": "DAG 的 id 不一致",
    "api.foreign_id": "{task_id} 不是本控制器（{agent}）的 id",
    "api.operator_unknown": "不支持操作 {operator}",
    "api.send_dag_operator": "请传入 ROLLBACK、RETRY、CANCEL 或 PASS",
    "api.send_pass": "请传入 PASS，节点只支持该操作",
    "api.agent_free": "控制器未处于运维状态",
    "api.cluster_free": "集群未处于运维状态",
    "api.token_name_used": "名为 {name!r} 的令牌已存在",
    "api.choose_token_name": "请换一个名称，或吊销该令牌",
    "api.token_unknown": "名为 {name!r} 的令牌不存在",
    "api.list_token_names": "请用 `dagengine token list` 列出令牌",
    "api.unexpected_error": "未预期的错误",
    "api.see_log": "请在日志中查找 trace {trace_id}",
    "api.body_too_large": "请求体超过 {limit_bytes:,} 字节",
    "api.request_rejected": "请求被拒绝",
    "api.route_not_found": "接口不存在：404",
    # --- security ---
    "security.header_decrypt_failed": "HTTP 请求头解密失败",
    "security.fetch_public_key": "请从 /api/v1/secret 获取当前公钥",
    "security.body_keys_invalid": "未授权：AES 密钥和 IV 的长度错误",
    "security.body_length_invalid": "未授权：请求体的长度不是 AES 分组长度的整数倍",
    "security.body_unreadable": "请求体不是用请求头中的密钥加密的",
    "security.body_not_read": "请求体未在时限内全部到达",
    "security.send_again": "请重新发送",
    "security.forwarded_not_authentic": (
        "请求头 Dagengine-Forwarded 不是由本服务的控制器为此请求生成的"
    ),
    "security.forwarded_at_other_time": "请求的转发时间与此控制器的时钟相差 {seconds} 秒",
    "security.synchronise_clocks": "请同步各控制器的时钟",
    "security.forwarded_before": "此转发请求已被接受过",
    "security.header_missing": "HTTP 请求头中没有 X-OCS-Agent-Header 或 X-OCS-Header",
    "security.socket_denied": "{peer} 无权使用该套接字",
    "security.call_as_owner": "请用 root 或控制器的运行用户调用，或使用 TCP 和密码",
    "security.right_missing": "{caller} 无权做任何更改",
    "security.call_with_right": "请使用有更改权限的凭据",
    "security.host_not_allowed": "请求头 Host 为 {host!r}，它不是本控制器的名称",
    "security.allow_host": "请用 IP 地址访问，或在引擎配置文件的 api.allowed_hosts 中加入该名称",
    "security.origin_not_allowed": "请求来自网页 {origin!r}，它不是本控制器的来源",
    "security.allow_origin": (
        "请关闭该网页；如果它属于本控制器，请在引擎配置文件的 api.allowed_hosts 中加入其主机名"
    ),
    "security.uri_mismatch": "URI 不一致",
    "security.sign_target": "请对实际发送的请求目标签名",
    "security.timestamp_invalid": "未授权：ts 不是自纪元起的秒数",
    "security.header_expired": "未授权：请求头已过期",
    "security.compare_clocks": "请比较两台机器的时钟",
    "security.header_too_far_ahead": "未授权：ts 比当前时间晚 {max_ahead_s} 秒以上",
    "security.sign_for_a_minute": "请将有效期设为一分钟，并比较两台机器的时钟",
    "security.header_replayed": "未授权：该签名请求已被使用过",
    "security.sign_each_request": "请对每个请求分别签名，并各用自己的 AES 密钥和 IV",
    "security.header_not_newer": (
        "未授权：ts 不晚于已使用且不再记录的请求的 ts：控制器的时钟曾被拨回"
    ),
    "security.correct_clock": (
        "请校正控制器的时钟；如果它之前偏快，请等到时钟再次到达该时间，"
        "或移走密钥文件后重启控制器，客户端随后会获取新的公钥"
    ),
    "security.too_many_failures": "该地址登录失败的次数过多",
    "security.correct_password": "请改正该处使用的密码，并在 {retry_after_s} 秒后重试",
    "security.try_again": "请在一分钟后重试",
    "security.too_many_requests": "为防止重放而保存的请求过多，须等它们过期",
    "security.password_unavailable": "控制器无法读取其密码",
    "security.see_log": "请查看其日志",
    "security.root_password_incorrect": "未授权：OceanBase 的密码错误",
    "security.agent_password_incorrect": "未授权：agent 的密码错误",
    "security.agent_password_unset": "未授权：未配置 agent 密码",
    "security.use_root_password": "请使用 root@sys 的密码（X-OCS-Header）",
    "security.id_needs_unset_password": "未授权：该 id 需要 agent 密码，但未配置",
    "security.id_needs_agent_password": "未授权：该 id 需要 agent 密码（X-OCS-Agent-Header）",
    "security.token_invalid": "未授权：令牌不存在或已被吊销",
    "security.list_tokens": (
        "请用 `dagengine token list` 列出令牌，或用 `dagengine token create` 创建令牌"
    ),
    "security.token_expired": "未授权：令牌 {name!r} 已于 {at} 过期",
    "security.create_token": "请用 `dagengine token create --name NAME` 创建令牌",
    "security.token_of_other": "未授权：该令牌属于{presented}，而这里是{own}",
    "security.use_own_token": "请使用{own}的令牌",
    "security.cluster_of_token": "集群 {cluster}",
    "security.service_of_token": "服务",
    "security.token_exposed": "令牌从另一台机器以明文 HTTP 发送，可能已被他人读取",
    "security.revoke_and_use_tls": (
        "请用 `dagengine token revoke` 吊销该令牌，并改用 https://"
        "（引擎配置文件的 api.tls_cert_file）、unix 套接字或本机回环地址"
    ),
    "security.response_exposed": "新令牌将以明文 HTTP 发送到另一台机器",
    "security.use_tls": (
        "请使用 https://（引擎配置文件的 api.tls_cert_file）、unix 套接字或本机回环地址"
    ),
    "security.token_in_url": "URL 中包含令牌，日志和历史记录会保留它",
    "security.revoke_and_send_header": (
        "请用 `dagengine token revoke` 吊销该令牌，"
        "并在请求头 `Authorization: Bearer` 中发送另一个令牌"
    ),
    "security.caller_not_accepted": "{caller} 不能创建、列出或吊销令牌",
    "security.use_root_or_socket": (
        "请使用 root@sys 的密码，或以 root 或控制器的运行用户使用 unix 套接字"
    ),
    "security.empty_password_not_accepted": (
        "root@sys 没有密码，本机的任何人都能创建长期有效的令牌"
    ),
    "security.set_password_or_use_socket": (
        "请设置密码，或以 root 或控制器的运行用户使用 unix 套接字"
    ),
    "security.login_required": "该页面需要登录",
    "security.log_in": "请登录",
    "security.session_ended": "会话已结束",
    "security.form_not_own": "该表单不是从本控制器和本会话的页面发送的",
    "security.reload_page": "请重新加载页面，然后再次发送表单",
    "security.pages_need_tls": (
        "页面只通过 TLS、本机回环地址和 unix 套接字提供，而该请求从另一台机器以明文 HTTP 发送"
    ),
    "security.set_up_tls": (
        "请在引擎配置文件中设置 api.tls_cert_file 和 api.tls_key_file，"
        "或用 `ssh -L 8886:SOCKET HOST` 转发本地端口并打开 http://localhost:8886"
    ),
    "security.root_password_unset": "root@sys 没有密码",
    "security.set_root_password": (
        "请设置密码（集群配置文件的 root_password_env 或 root_password_file），"
        "或创建令牌（dagengine token create）"
    ),
    "security.credentials_missing": "表单中没有密码或令牌",
    "security.fill_in": "请输入密码或令牌",
    "security.entry_not_offered": "该监听地址不接受登录方式 {entry!r}",
    "security.use_offered_entry": "请使用页面提供的登录方式",
    # --- engine ---
    "engine.engine_not_running": "引擎未运行",
    "engine.repeat_when_running": "请在引擎运行后重试",
    "engine.engine_stopped": "引擎已停止，其事件已结束",
    "engine.stopped_during_creation": "创建 DAG 时引擎被停止",
    "engine.node_not_found": "节点 {node_id} 不存在",
    "engine.dag_not_found": "DAG {dag_id} 不存在",
    "engine.dag_just_ended": "DAG {dag_id} 刚刚结束",
    "engine.read_again": "请重新读取",
    "engine.idempotency_key_reused": "幂等键 {key!r} 已用于另一个请求，该请求创建了任务 {dag_id}",
    "engine.repeat_or_change_key": "重复该请求可得到其任务，否则请换一个键",
    "engine.lock_held": "'{holder}' {dag_id} 持有锁 '{key}'",
    "engine.wait_or_cancel": "请等待它结束或取消它，然后重试",
    "engine.successor_exists": "DAG {dag_id} 已在等待它的锁",
    "engine.operation_unknown": "操作 '{operation}' 未在本引擎注册",
    "engine.use_known_operation": "请使用已注册的操作：{known}",
    "engine.targets_missing": "'{operation}' 至少需要一个目标",
    "engine.name_targets": "请指定目标：阶段 '{stage}' 对每个目标运行一次",
    "engine.stage_unknown": "'{operation}' 没有阶段 '{stage}'",
    "engine.holder": "'{name}' {dag_id}，自 {since}",
    "engine.holder_at_stage": (
        "'{name}' {dag_id}，处于第 {stage} 阶段（共 {stages} 个）'{stage_name}'，自 {since}"
    ),
    "engine.holder_waiting": (
        "'{name}' {dag_id}，处于第 {stage} 阶段（共 {stages} 个）'{stage_name}'"
        "（等待 {waits}），自 {since}"
    ),
    # --- rules ---
    "rules.dag_name": "DAG '{name}'",
    "rules.dag_ended": "{dag} 已结束：{state}",
    "rules.nothing_to_cancel": "只能取消未结束的 DAG",
    "rules.stage_not_cancellable": "阶段 '{stage}' 不能取消",
    "rules.wait_for_end": "请等待 DAG 结束，然后处理失败",
    "rules.dag_not_failed": "{dag} 的状态是 {state}，不是 FAILED",
    "rules.retry_failed_only": "只能重试 FAILED 的 DAG",
    "rules.rollback_failed_only": "只能回滚 FAILED 的 DAG",
    "rules.pass_failed_only": "只能跳过 FAILED 的 DAG；运行中的请先 CANCEL",
    "rules.pass_stage_of_failed_only": "只能跳过 FAILED 的 DAG 的阶段；运行中的请先 CANCEL",
    "rules.stage_not_retryable": "'{stage}' 不能重试",
    "rules.rollback_or_finish_by_hand": "请 ROLLBACK 该 DAG，或手动完成后 PASS",
    "rules.stage_not_reversible": "'{stage}' 不能回滚",
    "rules.retry_or_undo_by_hand": "请排除原因后 RETRY 该 DAG，或手动撤销其更改后 PASS",
    "rules.lock_was_taken": "自 {dag} 失败以来，另一个 DAG 持有过锁 '{key}'",
    "rules.see_newest_dag": "请查看最新的 DAG：该 DAG 的更改已不能撤销",
    "rules.stage_not_passable": "'{stage}' 不能跳过",
    "rules.retry_or_rollback": "请排除原因后 RETRY 该 DAG，或 ROLLBACK",
    "rules.stage_not_failed": "'{stage}' 的状态是 {state}，不是 FAILED",
    "rules.name_failed_stage": "请指定 FAILED 的阶段；第一个是 {number} 号",
    "rules.rollback_started": "{dag} 已开始回滚：不能从 '{stage}' 之后继续",
    "rules.rollback_retry_or_pass": "请再次 ROLLBACK、从头 RETRY，或 PASS 该 DAG",
    "rules.operator_unknown": "不支持操作 {operator}",
    "rules.send_operator": "请传入 RETRY、ROLLBACK、CANCEL 或 PASS",
    # --- store ---
    "store.closed": "存储 {path} 已关闭",
    "store.store_unusable": "存储 {path} 不能使用：{reason}",
    "store.store_unchanged": "存储未被更改：{remedy}",
    "store.file_replaced": "控制器运行时，存储 {path} 被删除或替换",
    "store.restore_file": ("如果原文件被移走，请放回；否则请停止控制器，放回备份，然后重新启动"),
    "store.unwritable": "存储 {path} 不能写入：{reason}",
    # --- server ---
    "server.method_unknown": "接口不存在：没有该方法",
    "server.request_malformed": "请求不是有效的 HTTP",
    "server.send_http": "请发送 HTTP/1.1；仅当引擎配置文件设置了 api.tls_cert_file 时才使用 https://",
    "server.request_failed": "未预期的错误",
    "server.see_controller_log": "请查看控制器的日志",
    "server.headers_too_long": "请求的首部过长",
    "server.send_shorter_headers": "请发送更短的首部",
    # --- model ---
    "model.generic_id_invalid": "通用 id 无效",
    "model.generic_id_number": "id 不能转换为整数",
    "model.generic_id_ip": "id 不能转换为 ip",
    "model.generic_id_port": "端口解析失败",
    "model.row_id_number": '行 id "{digits}" 不是数字',
    "model.row_id_range": '行 id "{digits}" 超出范围',
}
