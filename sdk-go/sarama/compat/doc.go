// Package compat holds package sarama of this repository against the one of github.com/IBM/sarama.
// It is a module of its own, so that the SDK does not depend on that one. Its tests
//
//   - compare what the two packages export, and name what is missing: allowed.txt says why;
//   - compile the programs under programs/ against both, from one source, and run them against a
//     broker with this repository's package: each ends with the output that it is to have;
//   - compare defaults, verdicts of Validate, partitioners, plans and numbers of errors.
//
// A program's output is what real sarama does with Kafka: with $COMPAT_KAFKA, the address of a
// Kafka broker without topics, they run there too.
package compat
