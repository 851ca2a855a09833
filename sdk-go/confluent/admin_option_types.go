package kafka

// Each call of an [AdminClient] takes the options that mean something to it.

// CreateTopicsAdminOption is an option of CreateTopics.
type CreateTopicsAdminOption interface {
	AdminOption
	supportsCreateTopics()
}

// DeleteTopicsAdminOption is an option of DeleteTopics.
type DeleteTopicsAdminOption interface {
	AdminOption
	supportsDeleteTopics()
}

// CreatePartitionsAdminOption is an option of CreatePartitions.
type CreatePartitionsAdminOption interface {
	AdminOption
	supportsCreatePartitions()
}

// AlterConfigsAdminOption is an option of AlterConfigs and IncrementalAlterConfigs.
type AlterConfigsAdminOption interface {
	AdminOption
	supportsAlterConfigs()
}

// DescribeConfigsAdminOption is an option of DescribeConfigs.
type DescribeConfigsAdminOption interface {
	AdminOption
	supportsDescribeConfigs()
}

// ListConsumerGroupsAdminOption is an option of ListConsumerGroups.
type ListConsumerGroupsAdminOption interface {
	AdminOption
	supportsListConsumerGroups()
}

// DescribeConsumerGroupsAdminOption is an option of DescribeConsumerGroups.
type DescribeConsumerGroupsAdminOption interface {
	AdminOption
	supportsDescribeConsumerGroups()
}

// DescribeTopicsAdminOption is an option of DescribeTopics.
type DescribeTopicsAdminOption interface {
	AdminOption
	supportsDescribeTopics()
}

// DescribeClusterAdminOption is an option of DescribeCluster.
type DescribeClusterAdminOption interface {
	AdminOption
	supportsDescribeCluster()
}

// DeleteConsumerGroupsAdminOption is an option of DeleteConsumerGroups.
type DeleteConsumerGroupsAdminOption interface {
	AdminOption
	supportsDeleteConsumerGroups()
}

// ListConsumerGroupOffsetsAdminOption is an option of ListConsumerGroupOffsets.
type ListConsumerGroupOffsetsAdminOption interface {
	AdminOption
	supportsListConsumerGroupOffsets()
}

// AlterConsumerGroupOffsetsAdminOption is an option of AlterConsumerGroupOffsets.
type AlterConsumerGroupOffsetsAdminOption interface {
	AdminOption
	supportsAlterConsumerGroupOffsets()
}

// ListOffsetsAdminOption is an option of ListOffsets.
type ListOffsetsAdminOption interface {
	AdminOption
	supportsListOffsets()
}

// DeleteRecordsAdminOption is an option of DeleteRecords.
type DeleteRecordsAdminOption interface {
	AdminOption
	supportsDeleteRecords()
}
