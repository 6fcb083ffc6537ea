# connectd. `make help` lists the targets; V=1 shows commands; B=dir builds
# elsewhere; CC, CFLAGS, CPPFLAGS, LDFLAGS from outside are respected.
VERSION = 0.1.0
SOVERSION = 0

B ?= build
prefix ?= /usr/local
exec_prefix ?= $(prefix)
bindir ?= $(prefix)/bin
sbindir ?= $(prefix)/sbin
includedir ?= $(prefix)/include
mandir ?= $(prefix)/share/man
docdir ?= $(prefix)/share/doc/connectd
sysconfdir ?= $(if $(filter /usr,$(prefix)),/etc,$(prefix)/etc)
multiarch := $(shell $(CC) -print-multiarch 2>/dev/null)
libdir ?= $(prefix)/lib$(if $(filter /usr,$(prefix)),$(if $(multiarch),/$(multiarch)))
unitdir ?= $(if $(filter /usr,$(prefix)),/lib,$(prefix)/lib)/systemd/system
sysusersdir ?= $(prefix)/lib/sysusers.d

CFLAGS ?= -O2 -g
WARN = -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition -Wpointer-arith \
	-Wcast-qual -Wwrite-strings -Wvla -Wundef -Wformat=2 -Wimplicit-fallthrough -Wredundant-decls -Werror
STD = -std=c11 -D_GNU_SOURCE
INC = -Icommon -Idaemon -Iclient-lib -isystem $(B)/gen
ALL_CFLAGS = $(STD) $(WARN) -fno-common -fstack-protector-strong $(SANITIZE) $(CFLAGS)
ALL_CPPFLAGS = $(INC) -DCONNECTD_VERSION='"$(VERSION)"' -DCONNECTD_SYSCONFDIR='"$(sysconfdir)"' $(PLANT) $(CPPFLAGS)
ALL_LDFLAGS = $(SANITIZE) -Wl,-z,relro,-z,now $(LDFLAGS)
Q = $(if $(V),,@)
say = $(if $(V),,@echo "  $(1)	$(patsubst $(B)/%,%,$(2))")

PROTOC_C ?= protoc-c
EVENT_LIBS = -levent_core -levent_extra
PROTOBUF_LIBS = -lprotobuf-c
SCTP_LIBS = -lusrsctp
# Debian 12 has no pkg-config file of it.
TLS_LIBS = -lmbedtls -lmbedx509 -lmbedcrypto
CHECK_LIBS = -lcheck -lsubunit -lm -lrt -lpthread

# ------------------------------------------------------------------ sources
COMMON_SRC := $(wildcard common/*.c)
DAEMON_SRC := $(filter-out daemon/main.c,$(wildcard daemon/*.c))
# The four doors: the simulator brings its own.
DOOR_SRC := $(wildcard daemon/loop.c daemon/task.c daemon/disk.c daemon/transport.c daemon/transport_*.c daemon/socket.c daemon/udp.c daemon/assoc*.c daemon/service.c)
CORE_SRC := $(filter-out $(DOOR_SRC),$(DAEMON_SRC))
LIB_SRC := $(wildcard client-lib/*.c)
LIB_DOOR_SRC := client-lib/io.c
TOOL_SRC := $(wildcard tools/*.c)
EXAMPLES := $(patsubst examples/%.c,%,$(wildcard examples/*.c))
UNIT := $(patsubst tests/unit/%.c,%,$(wildcard tests/unit/test_*.c))
TESTLIB_SRC := $(wildcard tests/lib/*.c)
DAEMON_TESTS := $(patsubst tests/daemon/%.c,%,$(wildcard tests/daemon/t_*.c))
TRANSPORT_SRC := $(wildcard tests/transport/*.c)
SIM_SRC := $(filter-out tests/sim/torture% tests/sim/sweep%,$(wildcard tests/sim/*.c))
SWEEP_SRC := $(wildcard tests/sim/sweep*.c) $(filter-out tests/sim/sim.c,$(SIM_SRC))
TORTURE_SRC := $(wildcard tests/sim/torture*.c tests/sim/vdisk*.c) tests/sim/cli.c tests/sim/sim_disk.c tests/sim/sim_loop.c tests/sim/world.c
STORE_SRC := $(wildcard daemon/store*.c)
FUZZERS := $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/fuzz_*.c))

obj = $(patsubst %.c,$(B)/obj/%.o,$(1))

.DEFAULT_GOAL := all
.PHONY: all check check-unit check-daemon soak soak-plants failures-plants check-asan check-tsan check-valgrind check-debian13 quickstart sim sim-plants sweep sweep-plants torture torture-plants power-cuts fuzz fuzz-plants lint coverage \
	install uninstall clean deps help
.DELETE_ON_ERROR:
.SECONDARY:

all: $(B)/connectd $(B)/connectctl $(B)/libconnectd.so $(B)/libconnectd.a $(EXAMPLES:%=$(B)/examples/%)

help:
	@echo "make                build daemon, tool, library, examples into $(B)/"
	@echo "make quickstart     two daemons on loopback pass messages, one is killed on the way; leaves nothing behind"
	@echo "make check          install what is missing, build, run all tests; JOBS=n so many at a time"
	@echo "make soak           the long forms of the daemon tests: kill loops, full disks, much traffic (about an hour; docs/testing.md)"
	@echo "make soak TESTS=t_kill KILL_SECONDS=60   one of them, with a parameter"
	@echo "make soak-plants    kill loops against daemons with planted faults, which must be found"
	@echo "make failures-plants t_failures against daemons with planted faults, which must be found"
	@echo "make check-asan     the same under AddressSanitizer, UBSan, LeakSanitizer"
	@echo "make check-tsan     tasks and TLS under ThreadSanitizer"
	@echo "make check-valgrind unit tests under valgrind"
	@echo "make check-debian13 make check in a fresh Debian 13 (root, network, mmdebstrap)"
	@echo "make sim SECONDS=n | SEEDS=n | SEED=n   the simulator; a seed replays exactly"
	@echo "make sim-plants     every planted fault must be found within 5000 seeds"
	@echo "make sweep SEEDS=n | SEED=n AT=n [MANY=n]   the simulator, every allocation fails once, alone or with those behind it"
	@echo "make sweep-plants   every fault planted for it must be found"
	@echo "make torture SECONDS=n | SEEDS=n | SEED=n [CRASH=n]   the store, crashed wherever it can be"
	@echo "make torture-plants every planted fault of the store must be found within 5000 seeds"
	@echo "make power-cuts CUTS=n   real power cuts on ext4 and XFS (root)"
	@echo "make fuzz FUZZ_SECONDS=n   run each fuzz target that long; FUZZ=fuzz_x for one"
	@echo "make fuzz-plants    faults planted for the fuzz targets, each of which must be found"
	@echo "make coverage SEEDS=n   branches of the store that no test takes; none may be left"
	@echo "make lint           formatting, layers, man pages, shell"
	@echo "make install        DESTDIR= prefix=$(prefix)"

# ---------------------------------------------------------------- generated
$(B)/gen/%.pb-c.c $(B)/gen/%.pb-c.h: proto/%.proto
	$(call say,PROTOC,$@)
	$(Q)mkdir -p $(B)/gen && $(PROTOC_C) --proto_path=proto --c_out=$(B)/gen $<
$(B)/gen/%.pb-c.c $(B)/gen/%.pb-c.h: examples/%.proto
	$(call say,PROTOC,$@)
	$(Q)mkdir -p $(B)/gen && $(PROTOC_C) --proto_path=examples --c_out=$(B)/gen $<
GEN_H := $(patsubst proto/%.proto,$(B)/gen/%.pb-c.h,$(wildcard proto/*.proto)) \
	$(patsubst examples/%.proto,$(B)/gen/%.pb-c.h,$(wildcard examples/*.proto))

# Generated code is not held to our warnings.
$(B)/obj/gen/%.o: $(B)/gen/%.c
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(STD) $(SANITIZE) $(CFLAGS) -I$(B)/gen -fPIC -c -o $@ $<
$(B)/obj/%.o: %.c | $(GEN_H)
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) $(if $(filter common/% client-lib/%,$<),-fPIC -fvisibility=hidden) \
		$(if $(filter tests/sim/%,$<),-Itests/sim,$(if $(filter tests/%,$<),-Itests/lib -Itests/unit -Itests/transport -Itests/knock -Itests/faults -Itests/sim)) -MD -MP -c -o $@ $<
-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)

# ------------------------------------------------------------------ outputs
link = $(call say,LD,$@)
dolink = $(Q)mkdir -p $(@D) && $(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $(filter %.o %.a,$^)

DAEMON_OBJ = $(call obj,$(COMMON_SRC) $(DAEMON_SRC)) $(B)/obj/gen/admin.pb-c.o
DAEMON_LIBS = $(EVENT_LIBS) $(PROTOBUF_LIBS) $(TLS_LIBS) $(SCTP_LIBS) -linih -lxxhash -lpthread

$(B)/connectd: $(DAEMON_OBJ) $(B)/obj/daemon/main.o
	$(link)
	$(dolink) $(DAEMON_LIBS)

LIB_OBJ = $(call obj,$(LIB_SRC) $(COMMON_SRC))
$(B)/libconnectd.a: $(LIB_OBJ)
	$(call say,AR,$@)
	$(Q)rm -f $@ && ld -r -o $(B)/libconnectd.o $^ && objcopy --localize-hidden $(B)/libconnectd.o && $(AR) rcs $@ $(B)/libconnectd.o
$(B)/libconnectd.so.$(SOVERSION): $(LIB_OBJ) client-lib/connectd.map
	$(link)
	$(Q)$(CC) $(ALL_CFLAGS) -shared $(ALL_LDFLAGS) -Wl,-soname,libconnectd.so.$(SOVERSION) -Wl,--version-script,client-lib/connectd.map \
		-o $@ $(LIB_OBJ) $(PROTOBUF_LIBS)
$(B)/libconnectd.so: $(B)/libconnectd.so.$(SOVERSION)
	$(Q)ln -sf libconnectd.so.$(SOVERSION) $@

$(B)/connectctl: $(call obj,$(TOOL_SRC) $(COMMON_SRC)) $(B)/obj/gen/admin.pb-c.o $(B)/libconnectd.a
	$(link)
	$(dolink) $(PROTOBUF_LIBS)

EXAMPLE_PB = $(patsubst examples/%.proto,$(B)/obj/gen/%.pb-c.o,$(wildcard examples/*.proto))
$(B)/examples/%: $(B)/obj/examples/%.o $(EXAMPLE_PB) $(B)/libconnectd.a
	$(link)
	$(dolink) $(PROTOBUF_LIBS) $(if $(findstring libevent,$*),-levent_core)

# -------------------------------------------------------------------- tests
# A unit test links only its module and what that may know (style.md).
include tests/unit/deps.mk

define unit_rule
$(B)/tests/$(1): $(B)/obj/tests/unit/$(1).o $(patsubst gen/%,$(B)/obj/gen/%.o,$(filter gen/%,$(DEPS_$(1)))) $(patsubst %,$(B)/obj/%.o,$(filter-out gen/%,$(DEPS_$(1))))
	$$(link)
	$$(dolink) $(LIBS_$(1)) $(CHECK_LIBS)
endef
$(foreach t,$(UNIT),$(eval $(call unit_rule,$(t))))

$(B)/tests/transport: $(call obj,$(TRANSPORT_SRC) $(DOOR_TEST_SRC) $(COMMON_SRC))
	$(link)
	$(dolink) $(EVENT_LIBS) $(TLS_LIBS) $(SCTP_LIBS) $(CHECK_LIBS)

$(B)/tests/t_%: $(B)/obj/tests/daemon/t_%.o $(call obj,$(TESTLIB_SRC) $(COMMON_SRC)) $(B)/obj/gen/admin.pb-c.o $(B)/libconnectd.a
	$(link)
	$(dolink) $(PROTOBUF_LIBS) $(EVENT_LIBS) $(TEST_LIBS) $(CHECK_LIBS)

# Those that bring certificates of every kind.
CERT_TESTS = $(B)/tests/t_tls $(B)/tests/t_denied $(B)/tests/t_reload $(B)/tests/t_sctp
$(CERT_TESTS): $(call obj,tests/transport/certs.c $(wildcard daemon/tls*.c))
$(CERT_TESTS): TEST_LIBS = $(TLS_LIBS)
# Nodes that are no daemons have keys of their own.
$(B)/tests/t_knock: $(call obj,tests/knock/crowd.c $(wildcard daemon/tls*.c))
$(B)/tests/t_knock: TEST_LIBS = $(TLS_LIBS)

# Calls that fail at the n-th time, for daemons in tests. Without sanitizers: they come before it.
$(B)/tests/fault.so $(B)/tests/every.so: $(B)/tests/%.so: tests/faults/%.c
	$(link)
	$(Q)mkdir -p $(@D) && $(CC) $(STD) $(WARN) -O2 -g -fPIC -shared -o $@ $< -ldl
$(B)/tests/t_full: | $(B)/tests/fault.so
$(B)/tests/t_failures: | $(B)/tests/every.so

UNIT_BIN = $(UNIT:%=$(B)/tests/%)
TRANSPORT_BIN = $(if $(TRANSPORT_SRC),$(B)/tests/transport)
DAEMON_TEST_BIN = $(DAEMON_TESTS:%=$(B)/tests/%)
SHELL_TESTS := $(wildcard tests/install/*.sh tests/systemd/*.sh)

# Most tests wait for other processes and for timers, so that twice as many run as there are processors.
# Those that measure times, wakings or spaces have the machine to themselves; of the others the longest begin.
JOBS ?= $(shell n=$$(($$(nproc) * 2)); echo $$((n > 16 ? 16 : n)))
RUN = B=$(B) JOBS=$(JOBS) tests/lib/run
ALONE_TESTS = t_knock t_flood t_backlog t_idle t_space
FIRST_TESTS = t_full t_kill t_tls t_denied t_peers t_copies
daemon_tests = $(patsubst %,$(B)/tests/%,$(FIRST_TESTS) $(filter-out $(FIRST_TESTS) $(ALONE_TESTS),$(DAEMON_TESTS)))
alone_tests = --alone $(ALONE_TESTS:%=$(B)/tests/%)

check: deps-check
	$(Q)$(MAKE) --no-print-directory check-run

.PHONY: check-run check-build deps-check deps-build
check-build: all $(UNIT_BIN) $(TRANSPORT_BIN) $(DAEMON_TEST_BIN) $(if $(SIM_SRC),$(B)/sim $(B)/sweep)
check-run: check-build
	$(Q)$(RUN) $(daemon_tests) $(TRANSPORT_BIN) $(if $(SIM_SRC),"$(B)/sim --seeds 200" "$(B)/sweep --seeds 6 --step 80") $(if $(NO_SHELL_TESTS),,$(SHELL_TESTS)) $(UNIT_BIN) $(alone_tests)

check-unit: $(UNIT_BIN) $(TRANSPORT_BIN)
	$(Q)$(RUN) $(TRANSPORT_BIN) $(UNIT_BIN)
check-daemon: all $(DAEMON_TEST_BIN)
	$(Q)$(RUN) $(daemon_tests) $(alone_tests)

# The long forms. Parameters are variables of the environment, or of make.
SOAK_TESTS = t_failures t_kill t_full t_space t_backlog t_large_cut t_knock t_flood
TESTS ?= $(SOAK_TESTS)
soak: all $(TESTS:%=$(B)/tests/%) $(B)/sweep
	$(Q)for t in $(TESTS); do B=$(B) SOAK=1 $(B)/tests/$$t || exit 1; done
	$(if $(filter file,$(origin TESTS)),$(Q)$(B)/sweep --seeds 4 && $(B)/sweep --seeds 4 --many 8 && $(B)/sweep --seeds 2 --many 60)

SOAK_PLANTS = NO_DEDUP CONFIRM_EARLY ACK_LOST
soak-plants: $(SOAK_PLANTS:%=soak-plant-%)
soak-plant-%: $(B)/tests/t_kill
	$(Q)$(MAKE) --no-print-directory B=$(B)/plant/$* PLANT=-DPLANT_$* $(B)/plant/$*/connectd
	$(Q)EXPECT_FAULT=1 KILL_SECONDS=$(or $(KILL_SECONDS),30) B=$(B)/plant/$* $(B)/tests/t_kill

# A fault each that t_failures must find; with what it is found by.
FAILURES_PLANTS = EVENT_LOST
FOUND_BY_EVENT_LOST = epoll_ctl:ENOMEM:3:1
failures-plants: $(FAILURES_PLANTS:%=failures-plant-%)
failures-plant-%: all $(B)/tests/t_failures
	$(Q)$(MAKE) --no-print-directory B=$(B)/plant/$* PLANT=-DPLANT_$* $(B)/plant/$*/connectd $(B)/plant/$*/connectctl $(B)/plant/$*/tests/every.so
	$(Q)EXPECT_FAULT=1 FAIL=$(FOUND_BY_$*) B=$(B)/plant/$* $(B)/tests/t_failures

ASAN = -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
check-asan: deps-check
	$(Q)$(MAKE) --no-print-directory B=$(B)/asan SANITIZE="$(ASAN)" CFLAGS="-O1 -g" NO_SHELL_TESTS=1 check-run

# Where two threads meet: tasks, and the handshakes of TLS.
TSAN_TESTS = test_task transport t_tls
check-tsan: deps-check
	$(Q)$(MAKE) --no-print-directory B=$(B)/tsan SANITIZE=-fsanitize=thread CFLAGS="-O1 -g" tsan-run
.PHONY: tsan-run
tsan-run: all $(TSAN_TESTS:%=$(B)/tests/%)
	$(Q)B=$(B) tests/lib/run $(TSAN_TESTS:%=$(B)/tests/%)

# They work, and do not wait. What repeats itself with other random numbers does so less often: valgrind looks at the code.
VALGRIND_JOBS ?= $(shell nproc)
check-valgrind: $(UNIT_BIN)
	$(Q)STORE_SEEDS=$(or $(STORE_SEEDS),12) WIRE_CASES=$(or $(WIRE_CASES),6000) JOBS=$(VALGRIND_JOBS) CK_TIMEOUT_MULTIPLIER=20 B=$(B) tests/lib/run $(UNIT_BIN:%="valgrind -q --error-exitcode=99 --leak-check=full --child-silent-after-fork=yes %")

check-debian13:
	$(Q)tests/debian13

deps-build:
	$(Q).ci/deps build
deps-check:
	$(Q).ci/deps check
deps: deps-check

quickstart: deps-build
	$(Q)$(MAKE) --no-print-directory all
	$(Q)B=$(B) examples/quickstart.sh

# --------------------------------------------------------------- simulator
# The real core and library on virtual doors; planted faults are separate builds.
$(B)/sim: $(call obj,$(SIM_SRC) $(COMMON_SRC) $(CORE_SRC) $(filter-out $(LIB_DOOR_SRC),$(LIB_SRC))) $(B)/obj/gen/admin.pb-c.o
	$(link)
	$(dolink) $(PROTOBUF_LIBS) $(TLS_LIBS) -linih -lxxhash -lpthread

sim: $(B)/sim
	$(Q)$(B)/sim $(if $(SEED),--seed $(SEED),$(if $(SEEDS),--seeds $(SEEDS),--seconds $(or $(SECONDS),10)))

PLANTS = NO_DEDUP NUMBER_REUSED GAP_IS_LOSS REJECT_LOST CREDIT_LEAK TWO_SESSIONS ANY_DECISION \
	SEND_BEFORE_SYNC SETTLE_BY_ACCEPTED SEQ_REUSED ZOMBIE_PRODUCER CONFIRM_BEFORE_SYNC MARK_APART_QUEUE OVERTAKES_ON_LINK
# A planted build compiles what the plant is in; the rest is copied from this one.
planted = $(Q)rm -rf $(1) && mkdir -p $(1) && cp -a $(B)/gen $(B)/obj $(1)/ && \
	for f in $$(grep -rlE 'PLANT_$*\>' daemon client-lib common tests/sim); do \
		case $$f in *.h) rm -rf $(1)/obj/daemon $(1)/obj/tests ;; *) rm -f $(1)/obj/$${f%.c}.o ;; esac; done

sim-plants: $(PLANTS:%=sim-plant-%)
sim-plant-%: $(B)/sim
	$(call planted,$(B)/plant/$*)
	$(Q)$(MAKE) --no-print-directory B=$(B)/plant/$* PLANT=-DPLANT_$* $(B)/plant/$*/sim
	$(Q)$(B)/plant/$*/sim --expect-violation --seeds 5000 --label $*

# The same, with allocations that fail: those of daemons and library alone are renamed.
SWEEP_CALLS = malloc calloc realloc strdup strndup asprintf free
$(B)/sweep-core.o: $(call obj,$(COMMON_SRC) $(CORE_SRC) $(filter-out $(LIB_DOOR_SRC),$(LIB_SRC)))
	$(call say,LD,$@)
	$(Q)ld -r -o $@ $^ && objcopy $(foreach c,$(SWEEP_CALLS),--redefine-sym $(c)=sweep_$(c)) $@
$(B)/sweep: $(call obj,$(SWEEP_SRC)) $(B)/sweep-core.o $(B)/obj/gen/admin.pb-c.o
	$(link)
	$(dolink) $(PROTOBUF_LIBS) $(TLS_LIBS) -linih -lxxhash -lpthread

# MANY of them fail in a row.
sweep: $(B)/sweep
	$(Q)$(B)/sweep $(if $(SEED),--seed $(SEED) --at $(or $(AT),0),--seeds $(or $(SEEDS),4) --step $(or $(STEP),1)) --many $(or $(MANY),1)

SWEEP_PLANTS = UNFORWARDED HOLE_KEPT
sweep-plants: $(SWEEP_PLANTS:%=sweep-plant-%)
sweep-plant-%: $(B)/sim
	$(call planted,$(B)/plant/$*)
	$(Q)$(MAKE) --no-print-directory B=$(B)/plant/$* PLANT=-DPLANT_$* $(B)/plant/$*/sweep
	$(Q)$(B)/plant/$*/sweep --expect-violation --seeds 20 --label $*

# ------------------------------------------------------------------- store
# The real store alone, on the simulator's disk, loop and tasks.
$(B)/torture: $(call obj,$(TORTURE_SRC) $(STORE_SRC) $(COMMON_SRC))
	$(link)
	$(dolink) -lxxhash

torture: $(B)/torture
	$(Q)$(B)/torture $(if $(SEED),--seed $(SEED) $(if $(CRASH),--crash $(CRASH)),$(if $(SEEDS),--seeds $(SEEDS),--seconds $(or $(SECONDS),10)))

TORTURE_PLANTS = COPY_REVIVES_DONE SHARED_BLOCK SYNC_FAILED_ACCEPTED RECYCLED_LIVE BODY_BELIEVED RESERVE_EATEN ACK_LOST REWRITE_TWICE \
	MARK_APART MARK_AHEAD CONFIRM_EARLY
torture-plants: $(TORTURE_PLANTS:%=torture-plant-%)
torture-plant-%: $(B)/torture
	$(call planted,$(B)/torture-plant/$*)
	$(Q)$(MAKE) --no-print-directory B=$(B)/torture-plant/$* PLANT=-DPLANT_$* $(B)/torture-plant/$*/torture
	$(Q)$(B)/torture-plant/$*/torture --expect-violation --seeds $(or $(SEEDS),5000) --label $*

# Which branches of the store neither its unit tests nor the torture takes. Every
# program runs, the objects are shared: what each took is added up in one place.
COVERED_UNIT := $(foreach t,$(UNIT),$(if $(filter daemon/store_%,$(DEPS_$(t))),$(t)))
coverage:
	$(Q)$(MAKE) --no-print-directory B=$(B)/coverage CFLAGS="-O0 -g --coverage" coverage-run
.PHONY: coverage-run
coverage-run: $(COVERED_UNIT:%=$(B)/tests/%) $(B)/torture
	$(Q)find $(B)/obj -name '*.gcda' -delete
	$(Q)B=$(B) tests/lib/run $(COVERED_UNIT:%=$(B)/tests/%) "$(B)/torture --seeds $(or $(SEEDS),24)"
	$(Q)tests/lib/coverage $(B)/obj $(STORE_SRC) $(wildcard daemon/store*.h)

# The real doors on real file systems whose power is cut. The control arm has
# every sync left out, and must lose.
POWER_OBJ = $(call obj,tests/power/power.c tests/power/power_child.c tests/sim/cli.c daemon/disk.c daemon/task.c daemon/loop.c $(STORE_SRC) $(COMMON_SRC))
$(B)/power: $(POWER_OBJ)
	$(link)
	$(dolink) -levent_core -lxxhash -lpthread
$(B)/power-control: $(POWER_OBJ) $(B)/obj/tests/power/no_sync.o
	$(link)
	$(dolink) -Wl,--wrap=disk_sync -Wl,--wrap=disk_sync_folder -levent_core -lxxhash -lpthread

power-cuts: $(B)/power $(B)/power-control
	$(Q)for fs in ext4 xfs; do $(B)/power --fs $$fs --cuts $(or $(CUTS),100) && $(B)/power-control --fs $$fs --cuts 100 --expect-loss || exit 1; done

# -------------------------------------------------------------------- fuzz
# Runs two targets at a time with -j2. FUZZ picks some; what was found to be of use is kept in $(B)/fuzz/corpus.
FUZZ_CC ?= clang
FUZZ_FLAGS = -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all
FUZZ_MAKE = $(MAKE) --no-print-directory CC=$(FUZZ_CC) SANITIZE="-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all" CFLAGS="-O1 -g"
FUZZ ?= $(FUZZERS)
FUZZ_SECONDS ?= $(or $(SECONDS),10)
include tests/fuzz/deps.mk

define fuzz_rule
$(B)/$(1): $(B)/obj/tests/fuzz/$(1).o $(patsubst gen/%,$(B)/obj/gen/%.o,$(filter gen/%,$(FUZZ_DEPS_$(1)))) $(patsubst %,$(B)/obj/%.o,$(filter-out gen/%,$(FUZZ_DEPS_$(1))))
	$$(link)
	$$(Q)mkdir -p $$(@D) && $$(CC) $$(FUZZ_FLAGS) $$(ALL_LDFLAGS) -o $$@ $$(filter %.o,$$^) $(FUZZ_LIBS_$(1))
endef
$(foreach f,$(FUZZERS),$(eval $(call fuzz_rule,$(f))))

# Seeds that are no texts are made.
$(B)/seeds/made: $(B)/fuzz-seeds
	$(Q)rm -rf $(@D) && mkdir -p $(@D) && ASAN_OPTIONS=detect_leaks=0 $< $(@D) && mkdir -p $(@D)/fuzz_conf && cp conf/connectd.conf $(@D)/fuzz_conf/ && touch $@
$(B)/fuzz-seeds: $(B)/obj/tests/fuzz/seeds.o $(patsubst gen/%,$(B)/obj/gen/%.o,$(filter gen/%,$(FUZZ_DEPS_seeds))) $(patsubst %,$(B)/obj/%.o,$(filter-out gen/%,$(FUZZ_DEPS_seeds)))
	$(link)
	$(Q)mkdir -p $(@D) && $(CC) -fsanitize=address,undefined $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) $(FUZZ_LIBS_seeds)

.PHONY: fuzz-run fuzz-run-% fuzz-plants
fuzz:
	+$(Q)$(FUZZ_MAKE) B=$(B)/fuzz fuzz-run
fuzz-run: $(FUZZ:%=fuzz-run-%)
	$(Q)echo "fuzz: $(words $(FUZZ)) targets, no findings"
fuzz-run-%: $(B)/% $(B)/seeds/made
	$(Q)B=$(B) tests/fuzz/run $* $(FUZZ_SECONDS)

# A fault is planted for each target, which must find it: TARGET-PLANT. What it is not in is copied.
fuzz-plants: $(FUZZ_PLANTS:%=fuzz-plant-%)
.PHONY: fuzz-built fuzz-build
fuzz-built:
	+$(Q)$(FUZZ_MAKE) B=$(B)/fuzz fuzz-build
fuzz-build: $(FUZZERS:%=$(B)/%) $(B)/seeds/made
fuzz-plant-%: fuzz-built
	$(Q)rm -rf $(B)/fuzz-plant/$(word 2,$(subst -, ,$*)) && mkdir -p $(B)/fuzz-plant/$(word 2,$(subst -, ,$*)) && \
		cp -a $(B)/fuzz/gen $(B)/fuzz/obj $(B)/fuzz-plant/$(word 2,$(subst -, ,$*))/ && \
		for f in $$(grep -rlE 'PLANT_$(word 2,$(subst -, ,$*))\>' daemon client-lib common tools); do \
		rm -f $(B)/fuzz-plant/$(word 2,$(subst -, ,$*))/obj/$${f%.c}.o; done
	+$(Q)$(FUZZ_MAKE) B=$(B)/fuzz-plant/$(word 2,$(subst -, ,$*)) PLANT=-DPLANT_$(word 2,$(subst -, ,$*)) \
		FUZZ_SECONDS=$(or $(FUZZ_PLANT_SECONDS),60) fuzz-planted-$(word 1,$(subst -, ,$*))
fuzz-planted-%: $(B)/% $(B)/seeds/made
	$(Q)B=$(B) EXPECT_FINDING=1 tests/fuzz/run $* $(FUZZ_SECONDS)

# -------------------------------------------------------------------- lint
lint:
	$(Q)tests/lib/lint

# ----------------------------------------------------------------- install
INSTALL ?= install
install: all
	$(INSTALL) -d $(DESTDIR)$(sbindir) $(DESTDIR)$(bindir) $(DESTDIR)$(libdir)/pkgconfig $(DESTDIR)$(includedir)/connectd \
		$(DESTDIR)$(mandir)/man3 $(DESTDIR)$(mandir)/man5 $(DESTDIR)$(mandir)/man7 $(DESTDIR)$(mandir)/man8 \
		$(DESTDIR)$(docdir) $(DESTDIR)$(unitdir) $(DESTDIR)$(sysusersdir) $(DESTDIR)$(sysconfdir)/connectd
	$(INSTALL) -m 755 $(B)/connectd $(DESTDIR)$(sbindir)/
	$(INSTALL) -m 755 $(B)/connectctl $(DESTDIR)$(bindir)/
	$(INSTALL) -m 644 $(B)/libconnectd.so.$(SOVERSION) $(DESTDIR)$(libdir)/
	ln -sf libconnectd.so.$(SOVERSION) $(DESTDIR)$(libdir)/libconnectd.so
	$(INSTALL) -m 644 $(B)/libconnectd.a $(DESTDIR)$(libdir)/
	$(INSTALL) -m 644 client-lib/connectd.h $(DESTDIR)$(includedir)/
	$(INSTALL) -m 644 client-lib/adapters/libevent.h $(DESTDIR)$(includedir)/connectd/
	sed -e 's|@prefix@|$(prefix)|;s|@libdir@|$(libdir)|;s|@includedir@|$(includedir)|;s|@VERSION@|$(VERSION)|' \
		client-lib/connectd.pc.in >$(DESTDIR)$(libdir)/pkgconfig/connectd.pc
	$(INSTALL) -m 644 docs/*.3 $(DESTDIR)$(mandir)/man3/
	$(INSTALL) -m 644 docs/*.5 $(DESTDIR)$(mandir)/man5/
	$(INSTALL) -m 644 docs/*.7 $(DESTDIR)$(mandir)/man7/
	$(INSTALL) -m 644 docs/*.8 $(DESTDIR)$(mandir)/man8/
	sed -e 's|@sbindir@|$(sbindir)|;s|@bindir@|$(bindir)|;s|@sysconfdir@|$(sysconfdir)|' systemd/connectd.service.in >$(DESTDIR)$(unitdir)/connectd.service
	$(INSTALL) -m 644 systemd/connectd.sysusers $(DESTDIR)$(sysusersdir)/connectd.conf
	$(INSTALL) -m 644 conf/connectd.conf proto/connectd.proto proto/admin.proto $(DESTDIR)$(docdir)/

uninstall:
	rm -f $(DESTDIR)$(sbindir)/connectd $(DESTDIR)$(bindir)/connectctl $(DESTDIR)$(libdir)/libconnectd.* \
		$(DESTDIR)$(libdir)/pkgconfig/connectd.pc $(DESTDIR)$(includedir)/connectd.h $(DESTDIR)$(includedir)/connectd/libevent.h \
		$(DESTDIR)$(mandir)/man?/connectd.8 $(DESTDIR)$(mandir)/man?/connectctl.8 $(DESTDIR)$(mandir)/man?/connectd.conf.5 \
		$(DESTDIR)$(mandir)/man?/libconnectd.3 $(DESTDIR)$(mandir)/man?/connectd-protocol.7 \
		$(DESTDIR)$(unitdir)/connectd.service $(DESTDIR)$(sysusersdir)/connectd.conf \
		$(DESTDIR)$(docdir)/connectd.conf $(DESTDIR)$(docdir)/connectd.proto $(DESTDIR)$(docdir)/admin.proto

clean:
	rm -rf $(B)
