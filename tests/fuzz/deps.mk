# What each fuzz target links, besides itself, as tests/unit/deps.mk says for
# unit tests. FUZZ_LIBS_X are system libraries.
FUZZ_DEPS_fuzz_frame = common/frame
FUZZ_DEPS_fuzz_wire = $(WIRE)
# Recovery needs a store, and a disk in memory.
FUZZ_DEPS_fuzz_store = $(STORE) tests/unit/fake_disk tests/unit/fake_task tests/unit/fake_loop
FUZZ_LIBS_fuzz_store = -lxxhash
FUZZ_DEPS_fuzz_conf = $(CONF)
FUZZ_LIBS_fuzz_conf = -linih
FUZZ_DEPS_fuzz_cert = $(TLS)
FUZZ_LIBS_fuzz_cert = $(TLS_LIBS)
# A whole daemon on the simulator's doors, and its books.
BOX = tests/fuzz/box $(patsubst %.c,%,$(CORE_SRC) $(COMMON_SRC)) gen/admin.pb-c tests/sim/accounts tests/sim/sim_disk tests/sim/sim_loop tests/sim/sim_net \
	tests/sim/vdisk tests/sim/vdisk_crash tests/sim/vdisk_folder tests/sim/world
BOX_LIBS = $(PROTOBUF_LIBS) $(TLS_LIBS) -linih -lxxhash -lpthread
FUZZ_DEPS_fuzz_session = $(BOX)
FUZZ_LIBS_fuzz_session = $(BOX_LIBS)
FUZZ_DEPS_fuzz_protocol = $(BOX)
FUZZ_LIBS_fuzz_protocol = $(BOX_LIBS)
FUZZ_DEPS_seeds = $(sort $(WIRE) $(TLS) $(CONF)) tests/transport/certs tests/fuzz/dict common/frame gen/admin.pb-c gen/connectd.pb-c
FUZZ_LIBS_seeds = $(TLS_LIBS) $(PROTOBUF_LIBS) -linih $(CHECK_LIBS)
# The whole tool (connectctl.c is part of the target), and a connect of our own.
FUZZ_DEPS_fuzz_admin = $(filter-out tools/connectctl,$(patsubst %.c,%,$(TOOL_SRC))) $(LIBCONNECTD) common/units common/pin gen/admin.pb-c
FUZZ_LIBS_fuzz_admin = -lprotobuf-c -Wl,--wrap=connect
FUZZ_DEPS_fuzz_tls = $(TLS)
FUZZ_LIBS_fuzz_tls = $(TLS_LIBS) -Wl,--wrap=mbedtls_ctr_drbg_random
FUZZ_DEPS_fuzz_lib = $(filter-out client-lib/io,$(LIBCONNECTD)) tests/sim/sim_net tests/sim/sim_loop tests/sim/world
FUZZ_LIBS_fuzz_lib = -lprotobuf-c
FUZZ_DEPS_fuzz_recover = $(FUZZ_DEPS_fuzz_store)
FUZZ_LIBS_fuzz_recover = -lxxhash

# The network is the target's own.
FUZZ_DEPS_fuzz_sctp = daemon/transport_sctp daemon/transport_sctp_spent daemon/drain daemon/transport_dtls daemon/transport_judge daemon/transport_shaker tests/unit/fake_task $(TLS) daemon/transport_dial daemon/transport_mux daemon/transport_resolve daemon/socket daemon/assoc daemon/assoc_stack \
	common/crc32c common/hmap common/names tests/unit/fake_loop
FUZZ_LIBS_fuzz_sctp = $(EVENT_LIBS) $(TLS_LIBS) $(SCTP_LIBS)

# A planted fault for each target.
FUZZ_PLANTS = fuzz_session-SHORT_BUFFER fuzz_protocol-ACK_BELIEVED fuzz_conf-SECONDS_ONLY fuzz_recover-LENGTH_BELIEVED fuzz_admin-RAW_REASON \
	fuzz_lib-REJECT_BELIEVED fuzz_tls-CUT_IS_END fuzz_cert-NAME_BELIEVED fuzz_sctp-SUM_BELIEVED
