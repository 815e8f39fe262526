//! The keys of Centrifugo v6 that do nothing here yet: part of the table in `keys.rs`.

use std::collections::BTreeMap;

use super::keys::{CHANNEL_SCOPES, Key, Status};

/// Adds the keys that are not in the table already.
pub fn add_to(keys: &mut BTreeMap<String, Key>) {
    let mut section = "";
    for line in SECTIONS.lines() {
        match (line.strip_suffix(':'), section) {
            (Some(name), _) if !line.starts_with(' ') => section = name,
            (_, "channel options") => CHANNEL_SCOPES.iter().for_each(|scope| add(keys, scope, line)),
            _ => add(keys, section.trim_matches('/'), line),
        }
    }
}

/// Adds `entries`, each `name=default` or `name{template}`, below `section`.
fn add(keys: &mut BTreeMap<String, Key>, section: &str, entries: &'static str) {
    for entry in entries.split_whitespace() {
        let restricts = entry.starts_with('!');
        let entry = entry.trim_start_matches('!');
        let join = |name: &str| match (section, name) {
            ("", name) => name.to_string(),
            (section, "") => section.to_string(),
            (section, name) => format!("{section}.{name}"),
        };
        match entry.split_once('=') {
            Some((name, default)) => {
                keys.entry(join(name)).or_insert(Key { default, status: Status::NotYet { restricts } });
            }
            None => {
                let name_and_template = entry.strip_suffix('}').and_then(|entry| entry.split_once('{'));
                let (name, template) = name_and_template.expect("an entry is a default or a template");
                let entries = TEMPLATES.iter().find(|(known, _)| *known == template).expect("the template is known").1;
                add(keys, &join(name), entries);
            }
        }
    }
}

/// Objects that stand in several places.
const TEMPLATES: &[(&str, &str)] = &[
    (
        "tls",
        r#"enabled=false cert_pem="" key_pem="" server_ca_pem="" client_ca_pem="" insecure_skip_verify=false
        server_name="""#,
    ),
    (
        "proxy",
        r#"endpoint="" timeout=1s http_headers=[] grpc_metadata=[] emulated_headers=[] binary_encoding=false
        include_connection_meta=false http.tls{tls} http.static_headers={} http.status_to_code_transforms=[]
        grpc.tls{tls} grpc.credentials_key="" grpc.credentials_value="" grpc.compression=false
        grpc.static_metadata={}"#,
    ),
    (
        "redis",
        r#"prefix=centrifugo address=redis://127.0.0.1:6379 connect_timeout=1s io_timeout=4s db=0 user=""
        password="" client_name="" force_resp2=false cluster_address=[] tls{tls} sentinel_address=[]
        sentinel_user="" sentinel_password="" sentinel_master_name="" sentinel_client_name="" sentinel_tls{tls}
        replica_client.enabled=false"#,
    ),
    (
        "postgres",
        r#"dsn="" tls{tls} pool_size=16 num_shards=8 cleanup_interval=1m idempotent_result_ttl=5m binary_data=false
        stream_retention=24h use_notify=false notify_dsn="" table_prefix=cf skip_schema_init=false
        outbox.poll_interval=100ms outbox.batch_size=1000 partition_lookahead_days=2 partition_retention_days=7"#,
    ),
    ("transforms", "enabled=false transforms=[]"),
    (
        "consumer_mode",
        "enabled=false channels_header=centrifugo-channels idempotency_key_header=centrifugo-idempotency-key
        delta_header=centrifugo-delta version_header=centrifugo-version
        version_epoch_header=centrifugo-version-epoch tags_header_prefix=centrifugo-tag-",
    ),
    (
        "consumer_mode_value",
        "enabled=false channels_value=centrifugo-channels idempotency_key_value=centrifugo-idempotency-key
        delta_value=centrifugo-delta version_value=centrifugo-version
        version_epoch_value=centrifugo-version-epoch tags_value_prefix=centrifugo-tag-",
    ),
    (
        "consumer_mode_attribute",
        "enabled=false channels_attribute=centrifugo-channels idempotency_key_attribute=centrifugo-idempotency-key
        delta_attribute=centrifugo-delta version_attribute=centrifugo-version
        version_epoch_attribute=centrifugo-version-epoch tags_attribute_prefix=centrifugo-tag-",
    ),
    (
        "consumer_mode_property",
        "enabled=false channels_property=centrifugo-channels idempotency_key_property=centrifugo-idempotency-key
        delta_property=centrifugo-delta version_property=centrifugo-version
        version_epoch_property=centrifugo-version-epoch tags_property_prefix=centrifugo-tag-",
    ),
];

/// Sections, each with its keys on the indented lines below; `/` is the top of the file. A `!` marks
/// keys that restrict. Keys of the other tables that a template brings again are passed over.
const SECTIONS: &str = r#"
http_server:
    tls{tls} !tls_autocert.enabled=false tls_autocert.host_whitelist=[] tls_autocert.cache_dir=""
    tls_autocert.email="" tls_autocert.server_name="" tls_autocert.http=false tls_autocert.http_addr=:80
    internal_tls{tls} http3.enabled=false h2c_external=false
broker:
    nats.tls{tls} postgres{postgres}
map_broker:
    type=memory redis{redis} redis.cleanup_interval=1s redis.cleanup_batch_size=100 redis.idempotent_result_ttl=5m
    redis.skip_pub_sub=false postgres.ttl_check_interval=1s postgres{postgres}
controller:
    postgres.dsn="" postgres.tls{tls} postgres.pool_size=8 postgres.num_shards=1
    postgres.table_prefix=cf postgres.poll_interval=50ms postgres.use_notify=false postgres.notify_dsn=""
    postgres.partition_retention_days=1 postgres.partition_lookahead_days=2 postgres.partition_cleanup_interval=1m
    postgres.batch_size=1000 postgres.skip_schema_init=false
shared_poll:
    hmac_secret_key="" hmac_previous_secret_key="" hmac_previous_secret_key_valid_until=0 concurrency_limit=0
client:
    connect_code_to_unidirectional_disconnect{transforms}
    proxy.connect.enabled=false proxy.connect{proxy} proxy.refresh.enabled=false proxy.refresh{proxy}
channel:
    proxy.subscribe{proxy} proxy.publish{proxy}
    proxy.sub_refresh{proxy} proxy.subscribe_stream{proxy} proxy.map_publish{proxy} proxy.map_remove{proxy}
    proxy.shared_poll_refresh{proxy}
channel options:
    allow_tags_filter=false
    !subscribe_proxy_enabled=false subscribe_proxy_name=default !publish_proxy_enabled=false
    publish_proxy_name=default sub_refresh_proxy_enabled=false sub_refresh_proxy_name=default
    !subscribe_stream_proxy_enabled=false subscribe_stream_proxy_name=default
    subscribe_stream_proxy_bidirectional=false subscription_type="" map_clients_presence_channel_prefix=""
    map_users_presence_channel_prefix=""
    map.mode="" map.key_ttl=0s map.ordered=false map.stream_size=0 map.stream_ttl=0s map.meta_ttl=0s
    map.remove_client_on_unsubscribe=false map.client_key="" map.allow_publish_for_client=false
    map.allow_publish_for_subscriber=false map.allow_publish_for_anonymous=false map.allow_remove_for_client=false
    map.allow_remove_for_subscriber=false map.allow_remove_for_anonymous=false map.publish_proxy_enabled=false
    map.publish_proxy_name=default map.remove_proxy_enabled=false map.remove_proxy_name=default
    map.default_page_size=0 map.min_page_size=0 map.max_page_size=0 map.live_transition_max_publication_limit=0
    map.subscribe_catch_up_timeout=0s
    shared_poll.proxy_name="" shared_poll.refresh_interval=0s shared_poll.refresh_batch_size=0
    shared_poll.max_keys_per_connection=0 shared_poll.mode="" shared_poll.channel_shutdown_delay=0s
    shared_poll.track_expired_extra_delay=0s shared_poll.publish_enabled=false
    batch_max_size=0 batch_max_delay=0s batch_flush_latest=false keep_latest_publication=false
    shared_position_sync=false allow_channel_compaction=false client_publish_debounce_interval=0s !subscribe_cel=""
    !publish_cel="" !history_cel="" !presence_cel="" cache_empty_proxy_enabled=false cache_empty_proxy_name=default
    state_proxy_enabled=false state_proxy_name=default state_events=[]
rpc:
    without_namespace.proxy_enabled=false without_namespace.proxy_name=default namespaces[].name=""
    namespaces[].proxy_enabled=false namespaces[].proxy_name=default ping.enabled=false ping.method=ping
    namespace_boundary=: proxy{proxy}
proxies[]:
    name="" {proxy}
grpc_api:
    enabled=false error_mode="" address="" port=10000 key="" tls{tls} reflection=false max_receive_message_size=0
websocket:
    !disabled=false
sse:
    enabled=false handler_prefix=/connection/sse max_request_body_size=65536
http_stream:
    enabled=false handler_prefix=/connection/http_stream max_request_body_size=65536
webtransport:
    enabled=false handler_prefix=/connection/webtransport message_size_limit=65536
uni_sse:
    enabled=false handler_prefix=/connection/uni_sse max_request_body_size=65536
    connect_code_to_http_response{transforms}
uni_http_stream:
    enabled=false handler_prefix=/connection/uni_http_stream max_request_body_size=65536
    connect_code_to_http_response{transforms}
uni_websocket:
    enabled=false handler_prefix=/connection/uni_websocket compression=false compression_min_size=0
    compression_level=1 read_buffer_size=0 use_write_buffer_pool=false write_buffer_size=0 write_timeout=1000ms
    message_size_limit=65536 decompressed_message_size_limit=0 disable_closing_handshake=false
    disable_disconnect_push=false join_push_messages=false
uni_grpc:
    enabled=false address="" port=11000 max_receive_message_size=0 tls{tls}
emulation:
    handler_prefix=/emulation max_request_body_size=65536
admin:
    enabled=false handler_prefix="" password="" secret="" insecure=false web_path="" web_proxy_address=""
    external=false
prometheus:
    instrument_http_handlers=false recovered_publications_histogram=false native_histograms=false
swagger:
    enabled=false handler_prefix=/swagger
debug:
    enabled=false handler_prefix=/debug/pprof
init:
    enabled=false handler_prefix=/connection/init
opentelemetry:
    enabled=false api=false consuming=false google_cloud_adc_auth=false
graphite:
    enabled=false host=localhost port=2003 prefix=centrifugo interval=10s tags=false
node:
    info_metrics_aggregate_interval=60s
/:
    enable_unreleased_features=false
consumers[]:
    name="" enabled=false type=""
consumers[].postgresql:
    dsn="" outbox_table_name="" num_partitions=1 partition_select_limit=100 partition_poll_interval=300ms
    partition_notification_channel="" partition_notification_dsn="" tls{tls} use_try_lock=false
consumers[].kafka:
    brokers=[] topics=[] consumer_group="" max_poll_records=100 fetch_max_bytes=0 fetch_max_wait=500ms
    fetch_read_uncommitted=false partition_queue_max_size=1000 dial_timeout=3s tls{tls} sasl_mechanism=""
    sasl_user="" sasl_password="" assume_role_arn="" instance_id="" method_header=centrifugo-method
    publication_data_mode{consumer_mode}
consumers[].nats_jetstream:
    url=nats://127.0.0.1:4222 credentials_file="" username="" password="" token="" stream_name=""
    use_existing_consumer=false subjects=[] durable_consumer_name="" deliver_policy=new max_ack_pending=100
    method_header=centrifugo-method publication_data_mode{consumer_mode} tls{tls}
consumers[].redis_stream:
    {redis} streams=[] consumer_group="" visibility_timeout=30s num_workers=1 payload_value=payload
    method_value=method publication_data_mode{consumer_mode_value}
consumers[].google_pub_sub:
    project_id="" subscriptions=[] max_outstanding_messages=100 max_outstanding_bytes=1000000 auth_mechanism=""
    credentials_file="" method_attribute=centrifugo-method publication_data_mode{consumer_mode_attribute}
consumers[].aws_sqs:
    queues=[] sns_envelope=false region="" max_number_of_messages=10 wait_time_time=20s visibility_timeout=30s
    max_concurrency=1 credentials_profile="" assume_role_arn="" method_attribute=centrifugo-method
    localstack_endpoint="" publication_data_mode{consumer_mode_attribute}
consumers[].azure_service_bus:
    connection_string="" use_azure_identity=false fully_qualified_namespace="" tenant_id="" client_id=""
    client_secret="" queues=[] use_sessions=false max_concurrent_calls=1 max_receive_messages=1
    method_property=centrifugo-method publication_data_mode{consumer_mode_property}
"#;
