# SPDX-License-Identifier: MIT
# Each test links only what it tests. What is shared by tests lives in tests/fake.

FAKE_CANNED = tests/fake/canned.c tests/fake/canned.h
FAKE_WORLD = tests/fake/world.c tests/fake/world.h
FAKE_BOX = tests/fake/box.c tests/fake/box.h $(FAKE_WORLD)
FAKE_STORE = tests/fake/memory.c tests/fake/memory.h tests/fake/fault.c tests/fake/fault.h
TRANSCRIPT = tests/transcript/script.c tests/transcript/script.h tests/transcript/stage.c tests/transcript/stage.h \
	tests/transcript/referee.c tests/transcript/referee.h $(NORMAL)
NORMAL = tests/transcript/normal.c tests/transcript/normal.h
FAKE_LOOP = tests/fake/loop.c tests/fake/loop.h
FAKE_STATE = tests/fake/state_memory.c tests/fake/state_memory.h
FAKE_IMAP = tests/fake/imap_script.c tests/fake/imap_script.h

BASE_TESTS = tests/unit/t_buf tests/unit/t_lru tests/unit/t_text tests/unit/t_log tests/unit/t_stream
UPSTREAM_TESTS = tests/unit/t_state tests/unit/t_state_disk tests/unit/t_state_recent tests/unit/t_state_rows tests/unit/t_maildrop tests/unit/t_identity tests/unit/t_uidl tests/unit/t_ledger tests/unit/t_ledger_state tests/unit/t_ledger_match tests/unit/t_journal tests/unit/t_lock tests/unit/t_health tests/unit/t_imap_quirks tests/unit/t_imap_login tests/unit/t_imap_caps tests/unit/t_imap_auth tests/unit/t_imap_scram tests/unit/t_imap_check tests/unit/t_imap_wire tests/unit/t_imap_facts tests/unit/t_imap_lines tests/unit/t_imap_plain tests/unit/t_imap_talk tests/unit/t_imap_name tests/unit/t_seal \
	tests/unit/t_imap tests/unit/t_imap_ahead tests/unit/t_imap_poison tests/unit/t_imap_budget tests/unit/t_imap_known tests/unit/t_imap_windows tests/unit/t_cut tests/unit/t_maildir tests/unit/t_maildir_mail tests/unit/t_maildir_update tests/unit/t_maildir_keep
SESSION_TESTS = tests/unit/t_pipeline tests/unit/t_dot tests/unit/t_top tests/unit/t_sasl tests/unit/t_command tests/unit/t_session \
	tests/unit/t_session_login tests/unit/t_session_sasl tests/unit/t_session_mail tests/unit/t_session_limits tests/unit/t_session_keep tests/unit/t_session_move \
	tests/transcript/transcript tests/fault/fault_loop
IO_TESTS = tests/unit/t_tls_client tests/unit/t_tlsconf tests/unit/t_fiber tests/unit/t_fiber_ucontext tests/unit/t_tcp tests/unit/t_move tests/unit/t_tls
ROOF_TESTS = tests/unit/t_guard tests/unit/t_guard_upstream tests/unit/t_recent tests/unit/t_place tests/unit/t_chores tests/unit/t_network tests/unit/t_config tests/unit/t_map tests/unit/t_map_policy tests/unit/t_map_target tests/unit/t_verify tests/unit/t_headroom tests/unit/t_local tests/unit/t_exchange tests/unit/t_exchange_key tests/unit/t_account tests/unit/t_account_kinds tests/unit/t_oauth tests/unit/t_oauth_jwt tests/unit/t_oauth_http tests/unit/t_token tests/unit/t_token_store tests/unit/t_token_keep tests/unit/t_config_oauth tests/unit/t_grant tests/unit/t_import

if CMOCKA
check_PROGRAMS = $(BASE_TESTS) $(UPSTREAM_TESTS) $(SESSION_TESTS) $(IO_TESTS) $(ROOF_TESTS)
endif

BASE_LIBS = libbase.a $(CMOCKA_LIBS)
UPSTREAM_LIBS = libupstream.a libbase.a $(CMOCKA_LIBS)
IMAP_LIBS = libupstream.a libbase.a $(STORE_LIBS) $(CMOCKA_LIBS)
# No libuv, no OpenSSL, no libetpan: the linker guards the floors.
SESSION_LIBS = libsession.a libupstream.a libbase.a $(CMOCKA_LIBS)
IO_LIBS = libio.a libbase.a $(UV_LIBS) $(SSL_LIBS) $(CMOCKA_LIBS)
ROOF_LIBS = libroof.a libsession.a libupstream.a libio.a libbase.a $(STORE_LIBS) $(UV_LIBS) $(SSL_LIBS) $(ARGON2_LIBS) -lcrypt $(CMOCKA_LIBS)

tests_unit_t_buf_LDADD = $(BASE_LIBS)
tests_unit_t_lru_LDADD = $(BASE_LIBS)
tests_unit_t_text_LDADD = $(BASE_LIBS)
tests_unit_t_log_LDADD = $(BASE_LIBS)
tests_unit_t_stream_SOURCES = tests/unit/t_stream.c $(FAKE_CANNED)
tests_unit_t_stream_LDADD = $(BASE_LIBS)

tests_unit_t_maildrop_LDADD = $(UPSTREAM_LIBS)
tests_unit_t_identity_LDADD = $(UPSTREAM_LIBS) -lcrypto
tests_unit_t_uidl_LDADD = $(UPSTREAM_LIBS) -lcrypto
LEDGER_RIG = tests/unit/ledger_rig.c tests/unit/ledger_rig.h $(FAKE_STATE) $(FAKE_WORLD)
tests_unit_t_ledger_SOURCES = tests/unit/t_ledger.c $(LEDGER_RIG)
tests_unit_t_ledger_state_SOURCES = tests/unit/t_ledger_state.c $(LEDGER_RIG)
tests_unit_t_ledger_state_LDADD = $(UPSTREAM_LIBS) -lcrypto
tests_unit_t_ledger_LDADD = $(UPSTREAM_LIBS) -lcrypto
tests_unit_t_ledger_match_SOURCES = tests/unit/t_ledger_match.c $(FAKE_STATE) $(FAKE_WORLD)
tests_unit_t_ledger_match_LDADD = $(UPSTREAM_LIBS) -lcrypto
tests_unit_t_journal_SOURCES = tests/unit/t_journal.c $(FAKE_STATE) $(FAKE_WORLD)
tests_unit_t_journal_LDADD = $(UPSTREAM_LIBS) -lcrypto
tests_unit_t_lock_SOURCES = tests/unit/t_lock.c $(FAKE_WORLD)
tests_unit_t_lock_LDADD = $(UPSTREAM_LIBS)
tests_unit_t_health_SOURCES = tests/unit/t_health.c $(FAKE_WORLD)
tests_unit_t_health_LDADD = $(UPSTREAM_LIBS)
tests_unit_t_imap_quirks_LDADD = $(UPSTREAM_LIBS)
tests_unit_t_imap_login_SOURCES = tests/unit/t_imap_login.c tests/unit/login_rig.c tests/unit/login_rig.h $(FAKE_IMAP) $(FAKE_WORLD)
tests_unit_t_imap_login_LDADD = $(IMAP_LIBS)
tests_unit_t_imap_caps_SOURCES = tests/unit/t_imap_caps.c tests/unit/login_rig.c tests/unit/login_rig.h $(FAKE_IMAP) $(FAKE_WORLD)
tests_unit_t_imap_caps_LDADD = $(IMAP_LIBS)
tests_unit_t_imap_auth_SOURCES = tests/unit/t_imap_auth.c tests/fake/scram_server.c tests/fake/scram_server.h $(FAKE_IMAP) $(FAKE_WORLD)
tests_unit_t_imap_auth_LDADD = $(IMAP_LIBS)
tests_unit_t_imap_scram_SOURCES = tests/unit/t_imap_scram.c tests/unit/login_rig.c tests/unit/login_rig.h $(FAKE_IMAP) $(FAKE_WORLD)
tests_unit_t_imap_scram_LDADD = $(IMAP_LIBS)
STATE_RIG = tests/unit/state_rig.c tests/unit/state_rig.h $(FAKE_WORLD)
tests_unit_t_seal_SOURCES = tests/unit/t_seal.c $(FAKE_WORLD)
tests_unit_t_seal_LDADD = $(IMAP_LIBS)
tests_unit_t_state_SOURCES = tests/unit/t_state.c $(STATE_RIG) $(FAKE_STATE)
tests_unit_t_state_LDADD = $(IMAP_LIBS)
tests_unit_t_state_recent_SOURCES = tests/unit/t_state_recent.c $(STATE_RIG)
tests_unit_t_state_recent_LDADD = $(IMAP_LIBS) -lpthread
tests_unit_t_state_rows_SOURCES = tests/unit/t_state_rows.c
tests_unit_t_state_rows_LDADD = $(IMAP_LIBS)
tests_unit_t_state_disk_SOURCES = tests/unit/t_state_disk.c $(STATE_RIG)
tests_unit_t_state_disk_LDADD = $(IMAP_LIBS) -lpthread
FAKE_HEARD = tests/fake/heard.c tests/fake/heard.h
FAKE_TALK = tests/fake/talk.c tests/fake/talk.h
FAKE_FLOW = tests/fake/flow.c tests/fake/flow.h
tests_unit_t_imap_check_SOURCES = tests/unit/t_imap_check.c $(FAKE_CANNED) $(FAKE_HEARD)
tests_unit_t_imap_check_LDADD = $(IMAP_LIBS)
tests_unit_t_imap_talk_SOURCES = tests/unit/t_imap_talk.c $(FAKE_CANNED) $(FAKE_TALK) $(FAKE_FLOW)
tests_unit_t_imap_talk_LDADD = $(IMAP_LIBS)
tests_unit_t_imap_wire_SOURCES = tests/unit/t_imap_wire.c $(FAKE_CANNED) $(FAKE_HEARD) $(FAKE_WORLD) $(FAKE_FLOW)
tests_unit_t_imap_wire_LDADD = $(IMAP_LIBS)
tests_unit_t_imap_facts_SOURCES = tests/unit/t_imap_facts.c $(FAKE_CANNED) $(FAKE_HEARD)
tests_unit_t_imap_facts_LDADD = $(IMAP_LIBS)
tests_unit_t_imap_lines_SOURCES = tests/unit/t_imap_lines.c $(FAKE_CANNED) $(FAKE_HEARD)
tests_unit_t_imap_lines_LDADD = $(IMAP_LIBS)
tests_unit_t_imap_plain_SOURCES = tests/unit/t_imap_plain.c
tests_unit_t_imap_plain_LDADD = $(IMAP_LIBS)
tests_unit_t_imap_name_LDADD = $(IMAP_LIBS)
tests_unit_t_imap_budget_SOURCES = tests/unit/t_imap_budget.c $(FAKE_WORLD)
tests_unit_t_imap_budget_LDADD = $(IMAP_LIBS)
tests_unit_t_imap_poison_SOURCES = tests/unit/t_imap_poison.c $(FAKE_WORLD)
tests_unit_t_imap_poison_LDADD = $(IMAP_LIBS)
IMAP_RUN = tests/unit/imap_run.c tests/unit/imap_run_login.c tests/unit/imap_run_state.c tests/unit/imap_run.h $(FAKE_IMAP) $(FAKE_WORLD) $(FAKE_STATE)
tests_unit_t_imap_SOURCES = tests/unit/t_imap.c $(IMAP_RUN)
tests_unit_t_imap_ahead_SOURCES = tests/unit/t_imap_ahead.c $(FAKE_SERVER)
tests_unit_t_imap_ahead_LDADD = $(IMAP_LIBS)
tests_unit_t_imap_known_SOURCES = tests/unit/t_imap_known.c $(IMAP_RUN)
tests_unit_t_imap_known_LDADD = $(IMAP_LIBS)
tests_unit_t_imap_windows_SOURCES = tests/unit/t_imap_windows.c $(FAKE_STATE) $(FAKE_WORLD)
tests_unit_t_imap_windows_LDADD = $(IMAP_LIBS)
tests_unit_t_imap_LDADD = $(IMAP_LIBS)
tests_unit_t_cut_SOURCES = tests/unit/t_cut.c $(FAKE_IMAP) $(FAKE_WORLD) $(FAKE_CANNED) $(FAKE_STATE) tests/fake/memory.c tests/fake/memory.h
tests_unit_t_cut_LDADD = libsession.a $(IMAP_LIBS)
tests_unit_t_maildir_SOURCES = tests/unit/t_maildir.c $(FAKE_BOX)
tests_unit_t_maildir_LDADD = $(IMAP_LIBS)
tests_unit_t_maildir_mail_SOURCES = tests/unit/t_maildir_mail.c $(FAKE_BOX)
tests_unit_t_maildir_mail_LDADD = $(IMAP_LIBS)
tests_unit_t_maildir_update_SOURCES = tests/unit/t_maildir_update.c $(FAKE_BOX)
tests_unit_t_maildir_update_LDADD = $(IMAP_LIBS)
tests_unit_t_maildir_keep_SOURCES = tests/unit/t_maildir_keep.c $(FAKE_BOX) $(FAKE_STATE)
tests_unit_t_maildir_keep_LDADD = $(IMAP_LIBS)

tests_unit_t_pipeline_SOURCES = tests/unit/t_pipeline.c $(FAKE_CANNED)
tests_unit_t_pipeline_LDADD = $(SESSION_LIBS)
tests_unit_t_dot_SOURCES = tests/unit/t_dot.c $(FAKE_CANNED)
tests_unit_t_dot_LDADD = $(SESSION_LIBS)
tests_unit_t_top_SOURCES = tests/unit/t_top.c $(FAKE_CANNED)
tests_unit_t_top_LDADD = $(SESSION_LIBS)
tests_unit_t_sasl_SOURCES = tests/unit/t_sasl.c $(FAKE_CANNED)
tests_unit_t_sasl_LDADD = $(SESSION_LIBS)
tests_unit_t_command_LDADD = $(SESSION_LIBS)
SESSION_RIG = tests/unit/session_rig.c tests/unit/session_rig.h $(FAKE_CANNED) $(FAKE_WORLD) $(FAKE_STORE)
tests_unit_t_session_SOURCES = tests/unit/t_session.c $(SESSION_RIG)
tests_unit_t_session_LDADD = $(SESSION_LIBS)
tests_unit_t_session_sasl_SOURCES = tests/unit/t_session_sasl.c $(SESSION_RIG)
tests_unit_t_session_sasl_LDADD = $(SESSION_LIBS)
tests_unit_t_session_login_SOURCES = tests/unit/t_session_login.c $(SESSION_RIG)
tests_unit_t_session_login_LDADD = $(SESSION_LIBS)
tests_unit_t_session_mail_SOURCES = tests/unit/t_session_mail.c $(SESSION_RIG)
tests_unit_t_session_mail_LDADD = $(SESSION_LIBS)
tests_unit_t_session_limits_SOURCES = tests/unit/t_session_limits.c $(SESSION_RIG)
tests_unit_t_session_limits_LDADD = $(SESSION_LIBS)
tests_unit_t_session_move_SOURCES = tests/unit/t_session_move.c $(SESSION_RIG)
tests_unit_t_session_move_LDADD = $(SESSION_LIBS)
tests_unit_t_session_keep_SOURCES = tests/unit/t_session_keep.c $(SESSION_RIG)
tests_unit_t_session_keep_LDADD = $(SESSION_LIBS)
tests_transcript_transcript_SOURCES = tests/transcript/transcript.c $(TRANSCRIPT) $(FAKE_CANNED) $(FAKE_WORLD) $(FAKE_STORE)
tests_transcript_transcript_LDADD = $(SESSION_LIBS)
tests_fault_fault_loop_SOURCES = tests/fault/fault_loop.c $(TRANSCRIPT) $(FAKE_CANNED) $(FAKE_WORLD) $(FAKE_STORE)
tests_fault_fault_loop_LDADD = $(SESSION_LIBS)

tests_unit_t_fiber_LDADD = $(IO_LIBS) -lm
tests_unit_t_fiber_ucontext_SOURCES = tests/unit/t_fiber.c proxy/io/fiber.c proxy/io/fiber_switch.c
tests_unit_t_fiber_ucontext_CPPFLAGS = $(AM_CPPFLAGS) -DFIBER_UCONTEXT
tests_unit_t_fiber_ucontext_LDADD = $(IO_LIBS) -lm
tests_unit_t_move_SOURCES = tests/unit/t_move.c $(FAKE_LOOP)
tests_unit_t_move_LDADD = $(IO_LIBS)
tests_unit_t_tcp_SOURCES = tests/unit/t_tcp.c $(FAKE_LOOP)
tests_unit_t_tcp_LDADD = $(IO_LIBS)
tests_unit_t_tls_SOURCES = tests/unit/t_tls.c $(FAKE_LOOP)
tests_unit_t_tls_LDADD = $(IO_LIBS)
tests_unit_t_tls_client_SOURCES = tests/unit/t_tls_client.c tests/fake/papers.c tests/fake/papers.h tests/fake/openssl_peer.c tests/fake/openssl_peer.h $(FAKE_LOOP)
tests_unit_t_tls_client_LDADD = $(IO_LIBS) -lpthread

tests_unit_t_tlsconf_SOURCES = tests/unit/t_tlsconf.c tests/unit/tls_shop.c tests/unit/tls_shop.h $(FAKE_WORLD)
tests_unit_t_tlsconf_LDADD = $(IO_LIBS)

tests_unit_t_place_SOURCES = tests/unit/t_place.c
tests_unit_t_place_LDADD = $(ROOF_LIBS)
GUARD_RIG = tests/unit/guard_rig.c tests/unit/guard_rig.h $(FAKE_WORLD)
tests_unit_t_guard_SOURCES = tests/unit/t_guard.c $(GUARD_RIG)
tests_unit_t_guard_upstream_SOURCES = tests/unit/t_guard_upstream.c $(GUARD_RIG)
tests_unit_t_guard_upstream_LDADD = $(ROOF_LIBS)
tests_unit_t_recent_LDADD = $(ROOF_LIBS)
tests_unit_t_guard_LDADD = $(ROOF_LIBS)
tests_unit_t_config_oauth_LDADD = $(ROOF_LIBS)
tests_unit_t_grant_SOURCES = tests/unit/t_grant.c $(FAKE_STATE) $(FAKE_WORLD)
tests_unit_t_grant_LDADD = $(ROOF_LIBS)
tests_unit_t_oauth_LDADD = $(ROOF_LIBS)
tests_unit_t_oauth_jwt_LDADD = $(IMAP_LIBS)
tests_unit_t_oauth_http_LDADD = $(IMAP_LIBS)
TOKEN_RIG = tests/unit/token_rig.c tests/unit/token_rig.h
tests_unit_t_token_SOURCES = tests/unit/t_token.c $(TOKEN_RIG) $(FAKE_STATE) $(FAKE_WORLD)
tests_unit_t_token_LDADD = $(ROOF_LIBS)
tests_unit_t_token_store_SOURCES = tests/unit/t_token_store.c $(TOKEN_RIG) $(FAKE_STATE) $(FAKE_WORLD)
tests_unit_t_token_store_LDADD = $(ROOF_LIBS)
tests_unit_t_token_keep_SOURCES = tests/unit/t_token_keep.c $(TOKEN_RIG) $(FAKE_STATE) $(FAKE_WORLD)
tests_unit_t_token_keep_LDADD = $(ROOF_LIBS)
tests_unit_t_network_LDADD = $(ROOF_LIBS)
tests_unit_t_config_LDADD = $(ROOF_LIBS)
tests_unit_t_map_policy_LDADD = $(ROOF_LIBS)
tests_unit_t_map_LDADD = $(ROOF_LIBS)
tests_unit_t_map_target_LDADD = $(ROOF_LIBS)
tests_unit_t_exchange_SOURCES = tests/unit/t_exchange.c $(FAKE_WORLD)
tests_unit_t_exchange_key_SOURCES = tests/unit/t_exchange_key.c $(FAKE_WORLD) $(FAKE_STATE)
tests_unit_t_exchange_key_LDADD = $(ROOF_LIBS)
tests_unit_t_exchange_LDADD = $(ROOF_LIBS)
tests_unit_t_local_LDADD = $(ROOF_LIBS)
tests_unit_t_verify_LDADD = $(ROOF_LIBS)
tests_unit_t_headroom_SOURCES = tests/unit/t_headroom.c $(FAKE_WORLD)
tests_unit_t_headroom_LDADD = $(ROOF_LIBS)
tests_unit_t_import_SOURCES = tests/unit/t_import.c $(FAKE_CANNED) $(FAKE_WORLD)
tests_unit_t_import_LDADD = $(ROOF_LIBS)
tests_unit_t_account_SOURCES = tests/unit/t_account.c $(FAKE_WORLD)
tests_unit_t_account_kinds_SOURCES = tests/unit/t_account_kinds.c $(FAKE_WORLD)
tests_unit_t_account_kinds_LDADD = $(ROOF_LIBS)
tests_unit_t_account_LDADD = $(ROOF_LIBS)
tests_unit_t_chores_SOURCES = tests/unit/t_chores.c $(FAKE_STATE) $(FAKE_WORLD)
tests_unit_t_chores_LDADD = $(ROOF_LIBS)

# Sessions over the model IMAP server: each kind of server; random trouble against a model of what POP3 promised.
FAKE_SERVER = tests/fake/imap_server.c tests/fake/imap_server.h tests/fake/imap_server_own.h tests/fake/imap_server_family.c \
	tests/fake/imap_server_talk.c tests/fake/imap_server_mix.c tests/fake/imap_server_reply.c tests/fake/imap_server_folder.c \
	tests/fake/imap_server_fetch.c tests/fake/imap_server_change.c tests/fake/imap_server_set.c $(FAKE_WORLD)
SOAK_STAND = tests/soak/stand.c tests/soak/stand.h tests/soak/client.c tests/soak/client.h $(FAKE_SERVER) $(FAKE_STATE)
SOAK_TESTS = tests/unit/t_imap_families tests/unit/t_imap_update tests/unit/t_imap_promise tests/unit/t_imap_policy tests/soak/soak tests/soak/forgetful
tests_unit_t_imap_families_SOURCES = tests/unit/t_imap_families.c $(FAKE_SERVER) $(FAKE_STATE) $(FAKE_CANNED) tests/fake/memory.c tests/fake/memory.h
tests_unit_t_imap_families_LDADD = libsession.a $(IMAP_LIBS)
UPDATE_RIG = tests/unit/update_rig.c tests/unit/update_rig.h $(FAKE_SERVER) $(FAKE_STATE)
tests_unit_t_imap_update_SOURCES = tests/unit/t_imap_update.c $(UPDATE_RIG)
tests_unit_t_imap_promise_SOURCES = tests/unit/t_imap_promise.c $(UPDATE_RIG)
tests_unit_t_imap_policy_SOURCES = tests/unit/t_imap_policy.c $(UPDATE_RIG)
tests_unit_t_imap_policy_LDADD = $(IMAP_LIBS)
tests_unit_t_imap_update_LDADD = $(IMAP_LIBS)
tests_unit_t_imap_promise_LDADD = $(IMAP_LIBS)
tests_soak_soak_SOURCES = tests/soak/soak.c tests/soak/world.c tests/soak/world_warm.c tests/soak/world.h tests/soak/foreign.c tests/soak/bot.c \
	tests/soak/bot.h tests/soak/bot_check.c tests/soak/brittle.c tests/soak/brittle.h tests/soak/promise.c tests/soak/promise.h $(SOAK_STAND) $(NORMAL)
tests_soak_soak_LDADD = libsession.a libupstream.a libbase.a $(STORE_LIBS)
tests_soak_forgetful_SOURCES = tests/soak/forgetful.c $(SOAK_STAND)
tests_soak_forgetful_LDADD = libsession.a libupstream.a libbase.a $(STORE_LIBS)
if CMOCKA
check_PROGRAMS += $(SOAK_TESTS)
endif

# Fuzz targets: with clang and --enable-fuzz they fuzz; without, replay.c runs each over its corpus in `make check`.
FUZZ_TARGETS = tests/fuzz/f_client tests/fuzz/f_imap tests/fuzz/f_config tests/fuzz/f_map tests/fuzz/f_dot tests/fuzz/f_state tests/fuzz/f_import tests/fuzz/f_oauth
EXTRA_PROGRAMS = $(FUZZ_TARGETS)
if FUZZ
FUZZ_MAIN =
else
FUZZ_MAIN = tests/fuzz/replay.c
endif
tests_fuzz_f_client_SOURCES = tests/fuzz/f_client.c $(FUZZ_MAIN) $(FAKE_CANNED) $(FAKE_WORLD) $(FAKE_STORE) \
	tests/transcript/referee.c tests/transcript/referee.h $(NORMAL)
tests_fuzz_f_client_LDADD = $(SESSION_LIBS)
tests_fuzz_f_client_LDFLAGS = $(POPGATE_LDFLAGS) $(FUZZ_LDFLAGS)
tests_fuzz_f_imap_SOURCES = tests/fuzz/f_imap.c $(FUZZ_MAIN) $(FAKE_CANNED) $(FAKE_TALK)
tests_fuzz_f_imap_LDADD = $(IMAP_LIBS)
tests_fuzz_f_imap_LDFLAGS = $(POPGATE_LDFLAGS) $(FUZZ_LDFLAGS)
tests_fuzz_f_config_SOURCES = tests/fuzz/f_config.c $(FUZZ_MAIN)
tests_fuzz_f_config_LDADD = $(ROOF_LIBS)
tests_fuzz_f_config_LDFLAGS = $(POPGATE_LDFLAGS) $(FUZZ_LDFLAGS)
tests_fuzz_f_map_SOURCES = tests/fuzz/f_map.c $(FUZZ_MAIN)
tests_fuzz_f_map_LDADD = $(ROOF_LIBS)
tests_fuzz_f_map_LDFLAGS = $(POPGATE_LDFLAGS) $(FUZZ_LDFLAGS)
tests_fuzz_f_dot_SOURCES = tests/fuzz/f_dot.c $(FUZZ_MAIN) $(FAKE_CANNED) $(NORMAL)
tests_fuzz_f_dot_LDADD = $(SESSION_LIBS)
tests_fuzz_f_dot_LDFLAGS = $(POPGATE_LDFLAGS) $(FUZZ_LDFLAGS)
tests_fuzz_f_state_SOURCES = tests/fuzz/f_state.c $(FUZZ_MAIN) $(FAKE_STATE) $(FAKE_WORLD)
tests_fuzz_f_state_LDADD = $(UPSTREAM_LIBS) -lcrypto
tests_fuzz_f_state_LDFLAGS = $(POPGATE_LDFLAGS) $(FUZZ_LDFLAGS)
tests_fuzz_f_oauth_SOURCES = tests/fuzz/f_oauth.c $(FUZZ_MAIN) $(FAKE_STATE) $(FAKE_WORLD)
tests_fuzz_f_oauth_LDADD = $(IMAP_LIBS)
tests_fuzz_f_oauth_LDFLAGS = $(POPGATE_LDFLAGS) $(FUZZ_LDFLAGS)
tests_fuzz_f_import_SOURCES = tests/fuzz/f_import.c $(FUZZ_MAIN)
tests_fuzz_f_import_LDADD = $(ROOF_LIBS)
tests_fuzz_f_import_LDFLAGS = $(POPGATE_LDFLAGS) $(FUZZ_LDFLAGS)

# make check: unit tests, transcripts, the fault loop, each fuzz target over its corpus, the floors.
TEST_LOG_DRIVER = env AM_TAP_AWK='$(AWK)' $(SHELL) $(top_srcdir)/build-aux/tap-driver.sh
LOG_DRIVER = $(TEST_LOG_DRIVER)
AM_TESTS_ENVIRONMENT = CMOCKA_MESSAGE_OUTPUT=TAP; export CMOCKA_MESSAGE_OUTPUT; \
	LSAN_OPTIONS=suppressions=$(abs_top_srcdir)/tests/fuzz/lsan.supp:print_suppressions=0; export LSAN_OPTIONS;
TESTS = $(check_PROGRAMS) tests/layers
if CMOCKA
if !FUZZ
check_PROGRAMS += $(FUZZ_TARGETS)
endif
endif

# Benchmarks, made by name: see tests/bench/README.
BENCH_TOOLS = tests/bench/imapd tests/bench/hold
EXTRA_PROGRAMS += $(BENCH_TOOLS)
CLEANFILES = $(BENCH_TOOLS)
