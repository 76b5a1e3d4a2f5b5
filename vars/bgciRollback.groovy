Map call(Map args = [:]) {
    return bgciRun('rollback', args)
}
