package testserver

import (
	"fmt"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"
)

// Status makes a status as a broker gives it: with an ErrorInfo, and with metadata as key, value,
// ...
func Status(code codes.Code, reason string, metadata ...string) *status.Status {
	return statusWith(code, reason, metadata)
}

// StatusRetry is as Status, with a RetryInfo.
func StatusRetry(code codes.Code, reason string, after time.Duration) *status.Status {
	return statusWith(code, reason, nil, &errdetails.RetryInfo{RetryDelay: durationpb.New(after)})
}

func statusWith(
	code codes.Code, reason string, metadata []string, more ...protoadapt.MessageV1,
) *status.Status {
	info := &errdetails.ErrorInfo{Reason: reason, Domain: "ropewalk.v1", Metadata: map[string]string{}}
	for i := 0; i+1 < len(metadata); i += 2 {
		info.Metadata[metadata[i]] = metadata[i+1]
	}
	st, err := status.New(code, fmt.Sprintf("test server: %s", reason)).
		WithDetails(append([]protoadapt.MessageV1{info}, more...)...)
	if err != nil {
		panic(err) // the details are messages that marshal
	}
	return st
}

func invalid(field string) error {
	return Status(codes.InvalidArgument, "INVALID_FIELD", "field", field).Err()
}
