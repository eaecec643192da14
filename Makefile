# One line each over ./tongcun (like ./gradlew: it needs Python 3.11 alone and makes .venv from the hashed lock).
# ARGS reaches the command: make test ARGS="-k launcher"
.PHONY: demo test test-kafka test-compose quick check bench faults fmt

demo:   ; @./tongcun demo $(ARGS)
test:   ; @./tongcun test $(ARGS)
test-kafka: ; @./tongcun test-kafka $(ARGS)
test-compose: ; @./tongcun test-compose $(ARGS)
quick:  ; @./tongcun quick $(ARGS)
check:  ; @./tongcun check $(ARGS)
bench:  ; @./tongcun bench $(ARGS)
faults: ; @./tongcun faults $(ARGS)
fmt:    ; @./tongcun fmt $(ARGS)
