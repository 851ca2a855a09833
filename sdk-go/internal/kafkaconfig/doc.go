// Package kafkaconfig has the settings of topics under Kafka's names, for the packages that have
// the API of one of Kafka's clients: what each does here, its unit and default, how its value is
// read and shown, and which sentence refuses one.
//
// A setting of Kafka's topics is one of three kinds:
//
//   - It acts: there is a setting of the core behind it.
//   - It is fixed: Ropewalk always does one thing. A value that asks for no more than that is
//     taken, any other is refused. What it always does is what it is shown as, so that what was
//     read can be set again.
//   - It is refused, whatever its value: there is nothing here that it could be about.
//
// Bounds of numbers are the broker's to check.
package kafkaconfig
