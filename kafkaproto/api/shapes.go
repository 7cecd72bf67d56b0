package api

// The shapes of the requests that are served: fields in the order of the wire, with the versions
// that have them. Numbers are bytes of fixed fields.

func bytesOf(n int) field { return field{kind: fixed, size: n} }

func str() field { return field{kind: text} }

func raw() field { return field{kind: blob} }

// each is an array of structures.
func each(fields ...field) field { return field{kind: array, fields: structure{fields: fields}} }

// numbers is an array of numbers of n bytes, and strs one of strings.
func numbers(n int) field { return field{kind: array, size: n} }

func strs() field { return field{kind: array, size: -1} }

func shapeOf(fields ...field) structure { return structure{fields: fields} }

// topicFields are a topic's name, or its id from a version on.
func topicFields(ids int16) (name, id field) {
	return str().to(ids - 1), bytesOf(16).from(ids)
}

func produceShape() structure {
	name, id := topicFields(13)
	partitions := each(bytesOf(4), raw())
	// With the answer for it and its Ack.
	partitions.memory = producePartitionBytes
	topics := each(name, id, partitions)
	topics.memory = produceTopicBytes
	return shapeOf(str().from(3), bytesOf(2), bytesOf(4), topics)
}

func fetchShape() structure {
	name, id := topicFields(13)
	partitions := each(bytesOf(4), bytesOf(4).from(9), bytesOf(8), bytesOf(4).from(12),
		bytesOf(8).from(5), bytesOf(4))
	partitions.fields.tagged = []field{bytesOf(16), bytesOf(8)}
	replica := field{kind: nested, fields: shapeOf(bytesOf(4), bytesOf(8))}
	return structure{
		fields: []field{
			bytesOf(4).to(14), bytesOf(4), bytesOf(4), bytesOf(4).from(3), bytesOf(1).from(4),
			bytesOf(8).from(7), each(name, id, partitions),
			each(name, id, numbers(4)).from(7), str().from(11),
		},
		tagged: []field{str(), replica},
	}
}

func listOffsetsShape() structure {
	return shapeOf(bytesOf(4), bytesOf(1).from(2),
		each(str(), each(bytesOf(4), bytesOf(4).from(4), bytesOf(8))), bytesOf(4).from(10))
}

func metadataShape() structure {
	return shapeOf(each(bytesOf(16).from(10), str()), bytesOf(1).from(4),
		bytesOf(1).from(8).to(10), bytesOf(1).from(8))
}

func offsetCommitShape() structure {
	name, id := topicFields(10)
	return shapeOf(str(), bytesOf(4), str(), str().from(7), bytesOf(8).from(2).to(4),
		each(name, id, each(bytesOf(4), bytesOf(8), bytesOf(4).from(6), str())))
}

func offsetFetchShape() structure {
	name, id := topicFields(10)
	return shapeOf(str().to(7), each(str(), numbers(4)).to(7),
		each(str(), str().from(9), bytesOf(4).from(9), each(name, id, numbers(4))).from(8),
		bytesOf(1).from(7))
}

func findCoordinatorShape() structure {
	return shapeOf(str().to(3), bytesOf(1).from(1), strs().from(4))
}

func joinGroupShape() structure {
	return shapeOf(str(), bytesOf(4), bytesOf(4).from(1), str(), str().from(5), str(),
		each(str(), raw()), str().from(8))
}

func heartbeatShape() structure { return shapeOf(str(), bytesOf(4), str(), str().from(3)) }

func leaveGroupShape() structure {
	return shapeOf(str(), str().to(2), each(str(), str(), str().from(5)).from(3))
}

func syncGroupShape() structure {
	return shapeOf(str(), bytesOf(4), str(), str().from(3), str().from(5), str().from(5),
		each(str(), raw()))
}

func listGroupsShape() structure { return shapeOf(strs().from(4), strs().from(5)) }

func apiVersionsShape() structure {
	return shapeOf(str().from(3), str().from(3), str().from(5), bytesOf(4).from(5))
}

func createTopicsShape() structure {
	return shapeOf(each(str(), bytesOf(4), bytesOf(2), each(bytesOf(4), numbers(4)),
		each(str(), str())), bytesOf(4), bytesOf(1).from(1))
}

func deleteTopicsShape() structure {
	return shapeOf(strs().to(5), each(str(), bytesOf(16)).from(6), bytesOf(4))
}

func initProducerIDShape() structure {
	return shapeOf(str(), bytesOf(4), bytesOf(8).from(3), bytesOf(2).from(3))
}

func offsetForLeaderEpochShape() structure {
	return shapeOf(bytesOf(4).from(3), each(str(), each(bytesOf(4), bytesOf(4).from(2), bytesOf(4))))
}

func describeConfigsShape() structure {
	return shapeOf(each(bytesOf(1), str(), strs()), bytesOf(1).from(1), bytesOf(1).from(3))
}

func deleteRecordsShape() structure {
	return shapeOf(each(str(), each(bytesOf(4), bytesOf(8))), bytesOf(4))
}

func alterConfigsShape() structure {
	return shapeOf(each(bytesOf(1), str(), each(str(), str())), bytesOf(1))
}

func describeLogDirsShape() structure { return shapeOf(each(str(), numbers(4))) }

func incrementalAlterConfigsShape() structure {
	return shapeOf(each(bytesOf(1), str(), each(str(), bytesOf(1), str())), bytesOf(1))
}
