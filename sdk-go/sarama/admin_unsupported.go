package sarama

func (a *clusterAdmin) CreateACL(Resource, Acl) error { return ErrUnsupportedVersion }

func (a *clusterAdmin) CreateACLs([]*ResourceAcls) error { return ErrUnsupportedVersion }

func (a *clusterAdmin) ListAcls(AclFilter) ([]ResourceAcls, error) {
	return nil, ErrUnsupportedVersion
}

func (a *clusterAdmin) DeleteACL(AclFilter, bool) ([]MatchingAcl, error) {
	return nil, ErrUnsupportedVersion
}

func (a *clusterAdmin) DescribeLogDirs(
	[]int32,
) (map[int32][]DescribeLogDirsResponseDirMetadata, error) {
	return nil, ErrUnsupportedVersion
}

func (a *clusterAdmin) DescribeUserScramCredentials(
	[]string,
) ([]*DescribeUserScramCredentialsResult, error) {
	return nil, ErrUnsupportedVersion
}

func (a *clusterAdmin) DeleteUserScramCredentials(
	[]AlterUserScramCredentialsDelete,
) ([]*AlterUserScramCredentialsResult, error) {
	return nil, ErrUnsupportedVersion
}

func (a *clusterAdmin) UpsertUserScramCredentials(
	[]AlterUserScramCredentialsUpsert,
) ([]*AlterUserScramCredentialsResult, error) {
	return nil, ErrUnsupportedVersion
}

func (a *clusterAdmin) UpdateFeatures([]FeatureUpdate) ([]UpdatableFeatureResult, error) {
	return nil, ErrUnsupportedVersion
}

func (a *clusterAdmin) DescribeClientQuotas(
	[]QuotaFilterComponent, bool,
) ([]DescribeClientQuotasEntry, error) {
	return nil, ErrUnsupportedVersion
}

func (a *clusterAdmin) AlterClientQuotas([]QuotaEntityComponent, ClientQuotasOp, bool) error {
	return ErrUnsupportedVersion
}

func (a *clusterAdmin) DescribeProducers(
	map[string][]int32,
) (map[string]map[int32]DescribeProducersResponsePartition, error) {
	return nil, ErrUnsupportedVersion
}

func (a *clusterAdmin) DescribeTransactions([]string) (map[string]TransactionState, error) {
	return nil, ErrUnsupportedVersion
}

func (a *clusterAdmin) ListTransactions(
	[]string, []int64, int64,
) ([]ListTransactionsResponseTransactionState, error) {
	return nil, ErrUnsupportedVersion
}
